"""What the database adds to events for one viewer: what clients find in `unsigned`.

To be read in the transaction that read the events. The number of queries does not depend on the number of events: for a
page of plain messages one, which reads an index alone.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from matrixd.core import relations
from matrixd.core.relations import REFERENCE, REPLACE, THREAD
from matrixd.core.streams import MAX_POSITION
from matrixd.queries import states_apart
from matrixd.queries.event_visibility import Viewer, VisibleHistory
from matrixd.storage import event_relations, events, room_state, transactions
from matrixd.storage.event_relations import Children, Scope
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: Edits of one event that are looked at, newest first, for one that is valid.
MAX_EDITS = 5
#: References of one event that are bundled with it; `/relations` pages through all.
MAX_REFERENCES = 200
_BUNDLED = (REPLACE, THREAD, REFERENCE)
#: `redacted_by` of an event that is shown redacted without a redaction.
_NO_REDACTION = 0

#: By number, of every room that the events are of.
Histories = Mapping[int, VisibleHistory]


@dataclass(frozen=True, slots=True)
class ThreadDetails:
    """A thread as its viewer sees it."""

    latest: StoredEvent
    count: int
    participated: bool


@dataclass(frozen=True, slots=True)
class Details:
    """For several events at once; each mapping has only those events of which there is something to say."""

    #: By event_nid: the state event that was replaced, and whether the viewer may see it.
    replaced: Mapping[int, tuple[StoredEvent, bool]] = field(default_factory=dict)
    #: By the redaction's event_nid.
    redactions: Mapping[int, StoredEvent] = field(default_factory=dict)
    #: By event_nid, as the client chose them.
    transaction_ids: Mapping[int, str] = field(default_factory=dict)
    #: By event_id: the latest edit.
    edits: Mapping[str, StoredEvent] = field(default_factory=dict)
    #: By event_id of the root.
    threads: Mapping[str, ThreadDetails] = field(default_factory=dict)
    #: By event_id: the IDs of the events that reference it.
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: By event_nid of an invite or a knock: stripped state, for the user whom it is about.
    stripped: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    #: The event_nids of what is shown redacted, because its sender was erased before the viewer came into the room.
    erased: Set[int] = frozenset()

    def as_shown(self, stored: StoredEvent) -> StoredEvent:
        """The event, or the redacted copy of it that the viewer gets."""
        return redacted_copy(stored) if stored.event_nid in self.erased else stored


def load(
    tx: Transaction,
    viewer: Viewer,
    histories: Histories,
    shown: Sequence[StoredEvent],
    replaced: Mapping[int, StoredEvent],
    *,
    bundled: bool = True,
) -> Details:
    """The details of events that the viewer may see; `bundled`: with their bundled aggregations."""
    children = _Children(tx, viewer, histories)
    if bundled:
        children.load(shown)
    everything = [*shown, *children.shown()]
    redactions = _redactions(tx, everything)
    for room_nid, history in histories.items():
        history.learn(tx, (item for item in (*everything, *redactions.values()) if item.room_nid == room_nid))
    return Details(
        {
            nid: (before, histories[before.room_nid].allows(before))
            for nid, before in replaced.items()
        },
        redactions,
        _transaction_ids(tx, viewer, everything),
        children.edits,
        children.threads,
        children.references,
        erased=erased(tx, viewer, [*everything, *replaced.values(), *redactions.values()]),
    )


def load_replaced(tx: Transaction, shown: Iterable[StoredEvent]) -> dict[int, StoredEvent]:
    """The state events that some events took the place of, by the number of the new one."""
    state = [stored for stored in shown if stored.event.is_state and stored.pos is not None]
    found = room_state.replaced(tx, [stored.event_nid for stored in state if stored.state_nid is None])
    return {**found, **states_apart.load_replaced(tx, state)}


def load_plain(tx: Transaction, viewer: Viewer, shown: Sequence[StoredEvent]) -> Details:
    """The details of long lists of state: only what redacted the events, and whose senders were erased."""
    redactions = _redactions(tx, shown)
    return Details(redactions=redactions, erased=erased(tx, viewer, [*shown, *redactions.values()]))


def erased(tx: Transaction, viewer: Viewer, shown: Iterable[StoredEvent]) -> Set[int]:
    """The event_nids of those events whose sender was erased before the viewer joined the room for the first time."""
    if not viewer.erased:
        return frozenset()
    found = [stored for stored in shown if stored.event.sender in viewer.erased]
    if not found:
        return frozenset()
    joined = _first_joins(tx, viewer, {stored.room_nid for stored in found})
    return {
        stored.event_nid
        for stored in found
        if joined.get(stored.room_nid, MAX_POSITION) > viewer.erased[stored.event.sender]
    }


def redacted_copy(stored: StoredEvent) -> StoredEvent:
    """What is shown of an event that nobody redacted to somebody who may not have more of it."""
    if stored.redacted_by is not None:
        return stored
    return structs.replace(stored, event=stored.event.redacted(), redacted_by=_NO_REDACTION)


def _first_joins(tx: Transaction, viewer: Viewer, room_nids: Collection[int]) -> dict[int, int]:
    """The position at which the viewer joined each of some rooms for the first time."""
    first: dict[int, int] = {}
    for room_nid, intervals in room_state.intervals(tx, room_nids, [("m.room.member", viewer.user_id)]).items():
        joins = [item.valid_from for item in intervals if item.event.membership == "join"]
        if joins:
            first[room_nid] = joins[0]
    return first


def _redactions(tx: Transaction, shown: Iterable[StoredEvent]) -> dict[int, StoredEvent]:
    return events.by_nids(tx, {stored.redacted_by for stored in shown if stored.redacted_by is not None})


def _transaction_ids(tx: Transaction, viewer: Viewer, shown: Iterable[StoredEvent]) -> dict[int, str]:
    if viewer.device_nid is None:
        return {}
    own = {stored.event_nid for stored in shown if stored.sender_nid == viewer.user_nid}
    found = transactions.of_events(tx, viewer.device_nid, own)
    return {nid: transactions.client_txn_id(key) for nid, key in found.items()}


class _Children:
    """Collects the bundled aggregations of events.

    https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
    """

    def __init__(self, tx: Transaction, viewer: Viewer, histories: Histories) -> None:
        self._tx = tx
        self._viewer = viewer
        self._histories = histories
        self.edits: dict[str, StoredEvent] = {}
        self.threads: dict[str, ThreadDetails] = {}
        self.references: dict[str, list[str]] = {}

    def load(self, shown: Sequence[StoredEvent]) -> None:
        """Collect the aggregations of all that can have some, for the rooms of which the same is visible together."""
        parents: dict[tuple[tuple[int, int], ...], dict[str, StoredEvent]] = {}
        for stored in shown:
            if not stored.event.is_state and stored.pos is not None:
                pieces = self._histories[stored.room_nid].pieces
                parents.setdefault(pieces, {})[stored.event.event_id] = stored
        for pieces, together in parents.items():
            ignored = self._viewer.ignored - {self._viewer.user_id}
            scopes = [Scope(self._viewer.user_nid, ignored, first, last) for first, last in pieces]
            latest = self._load_threads(together, self._load_own(scopes, together, _BUNDLED))
            # The latest events of threads are shown with aggregations of their own, but are no roots of threads.
            self._load_own(scopes, {stored.event.event_id: stored for stored in latest}, (REPLACE, REFERENCE))

    def shown(self) -> list[StoredEvent]:
        return [*self.edits.values(), *(thread.latest for thread in self.threads.values())]

    def _is_seen(self, child: StoredEvent) -> bool:
        """Whether the viewer may see a child: where it has a state of its own its position does not tell."""
        if child.state_nid is None:
            return True
        history = self._histories[child.room_nid]
        history.learn(self._tx, [child])
        return history.allows(child)

    def _load_own(
        self, scopes: Sequence[Scope], parents: Mapping[str, StoredEvent], rel_types: Collection[str]
    ) -> dict[tuple[str, str], Children]:
        if not parents:
            return {}
        rooms = {event_id: stored.room_nid for event_id, stored in parents.items()}
        found: dict[tuple[str, str], Children] = {}
        for scope in scopes:
            for key, children in event_relations.children(self._tx, scope, rooms, rel_types).items():
                found[key] = found[key] + children if key in found else children
        self._load_edits(scopes, parents, found)
        referenced = [parent_id for parent_id, rel_type in found if rel_type == REFERENCE]
        for scope in scopes if referenced else ():
            for parent_id, event_id in event_relations.references(self._tx, scope, referenced, MAX_REFERENCES):
                self.references.setdefault(parent_id, []).append(event_id)
        return found

    def _load_edits(
        self, scopes: Sequence[Scope], parents: Mapping[str, StoredEvent], found: Collection[tuple[str, str]]
    ) -> None:
        edited = [
            parent_id for parent_id, rel_type in found if rel_type == REPLACE and parents[parent_id].redacted_by is None
        ]
        edits: dict[str, list[StoredEvent]] = {}
        for scope in scopes if edited else ():
            for parent_id, edit in event_relations.newest_edits(self._tx, scope, edited, MAX_EDITS):
                if self._is_seen(edit):
                    edits.setdefault(parent_id, []).append(edit)
        for parent_id, candidates in edits.items():
            latest = relations.latest_edit(parents[parent_id].event, [edit.event for edit in candidates])
            if latest is not None:
                self.edits[parent_id] = next(edit for edit in candidates if edit.event is latest)

    def _load_threads(
        self, parents: Mapping[str, StoredEvent], found: Mapping[tuple[str, str], Children]
    ) -> list[StoredEvent]:
        threads = {parent_id: children for (parent_id, rel_type), children in found.items() if rel_type == THREAD}
        newest = events.at_positions(self._tx, [children.newest_pos for children in threads.values()])
        for parent_id, children in threads.items():
            latest = newest.get(children.newest_pos)
            if latest is None or not self._is_seen(latest):
                continue
            if relations.may_start_thread(parents[parent_id].event):
                by_reader = children.by_reader or parents[parent_id].sender_nid == self._viewer.user_nid
                self.threads[parent_id] = ThreadDetails(latest, children.count, by_reader)
        return [thread.latest for thread in self.threads.values()]
