"""Events as bytes for clients.

What all readers share of an event is serialised once and kept under the byte budget; for each reader only `unsigned` is
put together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matrixd.core import relations
from matrixd.core.client_event import (
    ClientBody,
    age_of,
    projected,
    unsigned_json,
    unsigned_members,
)
from matrixd.core.event import Event
from matrixd.core.filters import EMPTY_FILTER, Filter
from matrixd.core.relations import ThreadSummary
from matrixd.queries import event_details
from matrixd.queries.event_details import Details, Histories
from matrixd.queries.event_visibility import Viewer, load_histories
from matrixd.queries.feed import Feed
from matrixd.storage import transactions
from matrixd.storage.database import Database
from matrixd.storage.rows import EventRow
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget

_KEPT_BYTES = 400


@dataclass(slots=True)
class _Kept:
    """An event's body; and, of one that came with the feed, what all readers find in `unsigned`."""

    body: ClientBody
    replaces: str | None = None
    #: With `prev_content`, and without it; None until somebody asks.
    members: tuple[bytes, bytes] | None = None


class ClientEvents:
    """Renders events. To be used in the reactor's thread."""

    def __init__(self, database: Database, feed: Feed, clock: Clock, budget: CacheBudget) -> None:
        self._database = database
        self._clock = clock
        # By event ID, and whether it is the redacted form: a reader that is late cannot bring back what was redacted.
        self._kept = budget.cache("client_events", tuple[str, bool], _Kept)
        feed.subscribe(EventRow, self._on_event)

    async def render(
        self,
        viewer: Viewer,
        shown: Sequence[StoredEvent],
        *,
        with_room_id: bool,
        bundled: bool = True,
        form: Filter = EMPTY_FILTER,
    ) -> list[bytes]:
        """Events, of any rooms, that the viewer may see; with one read for all of them.

        `with_room_id`: whether the events say their room. `bundled`: whether with their bundled aggregations.
        `form`: in which form a filter wants them.
        """
        if not shown:
            return []
        histories, details = await self._database.read(load_shown, viewer, shown, bundled)
        return self.assemble(histories, shown, details, with_room_id=with_room_id, form=form)

    def assemble(
        self,
        histories: Histories,
        shown: Iterable[StoredEvent],
        details: Details,
        *,
        with_room_id: bool = True,
        form: Filter = EMPTY_FILTER,
    ) -> list[bytes]:
        """Events that the viewer may see, with the `details` that were read in the same transaction."""
        rendering = _Rendering(self, histories, details, with_room_id, form, self._clock.now_ms())
        return [rendering.event(stored) for stored in shown]

    def render_row(
        self,
        viewer: Viewer,
        row: EventRow,
        *,
        membership: str = "join",
        with_room_id: bool = False,
        prev_content: bool = True,
        redaction: Event | None = None,
        form: Filter = EMPTY_FILTER,
    ) -> bytes:
        """An event as it came with the feed, without a look at the database.

        `membership` is the viewer's before the event. `prev_content`: whether the viewer may see what the event
        replaced. `redaction`: what has pruned `row.event` since it came.
        """
        now = self._clock.now_ms()
        kept = self._keep(row.event, redaction is not None)
        if redaction is None:
            shared = self._members_of(kept, row)[0 if prev_content else 1]
        else:
            because = self.body(redaction, False).json(
                unsigned_json(age=age_of(redaction, now)), room_id=with_room_id
            )
            shared = _members(row.replaces, prev_content, because)
        transaction_id = None
        if row.txn_id is not None and row.device_nid == viewer.device_nid:
            transaction_id = transactions.client_txn_id(row.txn_id)
        if row.member is not None and row.member.user_nid == viewer.user_nid:
            membership = row.member.membership
        unsigned = unsigned_json(
            age=age_of(row.event, now), shared=shared, transaction_id=transaction_id, membership=membership
        )
        return in_form(row.event, kept.body, unsigned, with_room_id, form)

    def now_ms(self) -> int:
        """The time by which ages are told."""
        return self._clock.now_ms()

    def body(self, event: Event, is_redacted: bool) -> ClientBody:
        """What all readers of an event share."""
        return self._keep(event, is_redacted).body

    def _keep(self, event: Event, is_redacted: bool) -> _Kept:
        key = (event.event_id, is_redacted)
        kept = self._kept.get(key)
        if kept is None:
            kept = _Kept(ClientBody.of(event))
            self._kept.put(key, kept, _KEPT_BYTES + len(kept.body.head))
        return kept

    def _members_of(self, kept: _Kept, row: EventRow) -> tuple[bytes, bytes]:
        if kept.members is None:
            kept.replaces = row.replaces.event_id if row.replaces is not None else None
            kept.members = _members(row.replaces, True), _members(row.replaces, False)
        return kept.members

    def _on_event(self, row: EventRow) -> None:
        redacted = row.redacted
        if redacted is None:
            return
        self._kept.remove((redacted.event_id, False))
        if redacted.is_state:
            # The event that replaced it shows its content.
            self._kept.remove_where(lambda kept: kept.replaces == redacted.event_id)


class _Rendering:
    """Renders the events of one answer."""

    def __init__(
        self, events: ClientEvents, histories: Histories, details: Details, room_id: bool, form: Filter, now: int
    ) -> None:
        self._events = events
        self._histories = histories
        self._details = details
        self._room_id = room_id
        self._form = form
        self._now = now

    def event(self, stored: StoredEvent) -> bytes:
        """The event with all that is known of it."""
        stored = self._details.as_shown(stored)
        event = stored.event
        unsigned = unsigned_json(
            age=age_of(event, self._now),
            shared=self._members(stored),
            transaction_id=self._details.transaction_ids.get(stored.event_nid),
            membership=self._histories[stored.room_nid].membership_at(stored),
        )
        body = self._events.body(event, stored.redacted_by is not None)
        return in_form(event, body, unsigned, self._room_id, self._form)

    def _members(self, stored: StoredEvent) -> bytes:
        details = self._details
        before = details.replaced.get(stored.event_nid)
        redaction = details.redactions.get(stored.redacted_by) if stored.redacted_by is not None else None
        bundle = self._bundle(stored)
        stripped = details.stripped.get(stored.event_nid)
        if before is None and redaction is None and bundle is None and stripped is None:
            return b""
        is_knock = stored.event.membership == "knock"
        return unsigned_members(
            prev_content=details.as_shown(before[0]).event.content if before is not None and before[1] else None,
            replaces_state=before[0].event.event_id if before is not None else None,
            redacted_because=self.event(redaction) if redaction is not None else None,
            relations=bundle,
            invite_room_state=None if is_knock else stripped,
            knock_room_state=stripped if is_knock else None,
        )

    def _bundle(self, stored: StoredEvent) -> bytes | None:
        details, event_id = self._details, stored.event.event_id
        edit = details.edits.get(event_id)
        thread = details.threads.get(event_id)
        references = details.references.get(event_id, ())
        if edit is None and thread is None and not references:
            return None
        summary = None
        if thread is not None:
            summary = ThreadSummary(self.event(thread.latest), thread.count, thread.participated)
        return relations.bundle(
            stored.event,
            is_redacted=stored.redacted_by is not None,
            replacement=self.event(edit) if edit is not None else None,
            thread=summary,
            references=references,
        )


def load_shown(
    tx: Transaction, viewer: Viewer, shown: Sequence[StoredEvent], bundled: bool
) -> tuple[Histories, Details]:
    replaced = event_details.load_replaced(tx, shown)
    histories = load_histories(tx, viewer, [*shown, *replaced.values()])
    return histories, event_details.load(tx, viewer, histories, shown, replaced, bundled=bundled)


def _members(replaced: Event | None, may_see: bool, redacted_because: bytes | None = None) -> bytes:
    return unsigned_members(
        prev_content=replaced.content if replaced is not None and may_see else None,
        replaces_state=replaced.event_id if replaced is not None else None,
        redacted_because=redacted_because,
    )


def plain_json(
    stored: StoredEvent, details: Details, now: int, *, with_room_id: bool = True, form: Filter = EMPTY_FILTER
) -> bytes:
    """A state event of a long list, with its age and what redacted it.

    It is made anew each time, so that it may run in a database thread, and so that the members of one large room do not
    take the place of everything else that is kept.
    """
    stored = details.as_shown(stored)
    redaction = details.redactions.get(stored.redacted_by) if stored.redacted_by is not None else None
    shared = b""
    if redaction is not None:
        because = ClientBody.of(details.as_shown(redaction).event).json(
            unsigned_json(age=age_of(redaction.event, now)), room_id=with_room_id
        )
        shared = unsigned_members(redacted_because=because)
    unsigned = unsigned_json(age=age_of(stored.event, now), shared=shared)
    return in_form(stored.event, ClientBody.of(stored.event), unsigned, with_room_id, form)


def in_form(event: Event, body: ClientBody, unsigned: bytes, room_id: bool, form: Filter) -> bytes:
    """An event's JSON in the form that a filter wants (`event_format`, `event_fields`)."""
    if form.shares_bytes:
        return body.json(unsigned, room_id=room_id)
    if form.federation_format:
        body = ClientBody.federation(event)
    found = body.json(unsigned, room_id=room_id)
    return found if form.event_fields is None else projected(found, form.event_fields)


def json_array(parts: Iterable[bytes]) -> bytes:
    """The JSON of a list of what is JSON already."""
    return b"[" + b",".join(parts) + b"]"


def json_object(members: Iterable[tuple[str, bytes]]) -> bytes:
    """The JSON of an object of what is JSON already. The names need no escaping."""
    return b"{" + b",".join(b'"%b":%b' % (name.encode("ascii"), value) for name, value in members) + b"}"
