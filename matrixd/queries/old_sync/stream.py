"""The events of some rooms in the order in which they came to the server: what `/events` answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.client_events import ClientEvents, json_array, json_object, load_shown
from matrixd.queries.event_details import Details, Histories
from matrixd.queries.event_visibility import Viewer, load_histories
from matrixd.queries.old_sync import form
from matrixd.queries.sync.invited import load_stripped_state
from matrixd.storage import events
from matrixd.storage.database import Database
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """One request. `limit` bounds the events of rooms; of the rest there is at most one for each room or user."""

    viewer: Viewer
    device_nid: int
    since: StreamToken
    limit: int
    #: In seconds.
    timeout: float


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be told: rooms, by number, with the position up to which; and events beside their history."""

    rooms: Mapping[int, int]
    others: Sequence[Mapping[str, Any]]


class EventStream:
    """Reads and writes the answers."""

    def __init__(self, database: Database, client_events: ClientEvents) -> None:
        self._database = database
        self._client_events = client_events

    async def answer(self, request: StreamRequest, told: Told, now: StreamToken) -> tuple[bytes, bool]:
        """The answer as of `now`, and whether it says anything."""
        shown: list[bytes] = []
        end = now
        if told.rooms:
            after = request.since[Stream.EVENTS]
            part = await self._database.read(_load, request.viewer, told.rooms, after, request.limit)
            rendered = self._client_events.assemble(part.histories, part.shown, part.details)
            shown = form.with_user_ids(rendered, part.shown)
            end = now if part.cut_at is None else now.replace(Stream.EVENTS, part.cut_at)
        chunk = [*map(orjson.dumps, told.others), *shown]
        body = json_object(
            [
                ("start", orjson.dumps(str(request.since))),
                ("end", orjson.dumps(str(end))),
                ("chunk", json_array(chunk)),
            ]
        )
        # Of a stream that is cut there is more, whether the viewer may see any of this part or not.
        return body, bool(chunk) or end != now


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the stream as its viewer sees it."""

    shown: Sequence[StoredEvent]
    histories: Histories
    details: Details
    #: The stream has been looked at up to this position; None: to its end.
    cut_at: int | None


def _load(tx: Transaction, viewer: Viewer, rooms: Mapping[int, int], after: int, limit: int) -> _Part:
    """The oldest events after a position, at most `limit`, of each room (by number) up to a position of its own."""
    positions = sorted(
        pos for room_nid, up_to in rooms.items() for pos in events.positions(tx, room_nid, after, up_to, limit + 1)
    )
    looked_at = positions[:limit]
    found = events.at_positions(tx, looked_at)
    came = [found[pos] for pos in looked_at if pos in found]
    seen = load_histories(tx, viewer, came)
    shown = [stored for stored in came if seen[stored.room_nid].may_see(stored) or _is_own(stored, viewer)]
    histories, details = load_told(tx, viewer, shown)
    return _Part(shown, histories, details, looked_at[-1] if len(positions) > limit else None)


def load_told(tx: Transaction, viewer: Viewer, shown: Sequence[StoredEvent]) -> tuple[Histories, Details]:
    """What it takes to render events; the viewer's own invites and knocks tell of the room."""
    histories, details = load_shown(tx, viewer, shown, bundled=True)
    outside = [stored for stored in shown if _is_own(stored, viewer) and stored.event.membership in ("invite", "knock")]
    stripped = {stored.event_nid: load_stripped_state(tx, stored) for stored in outside}
    return histories, replace(details, stripped=stripped)


def _is_own(stored: StoredEvent, viewer: Viewer) -> bool:
    """Whether this is the viewer's own membership: it is told whatever came of it."""
    return stored.event.type == "m.room.member" and stored.event.state_key == viewer.user_id
