"""What clients read of a room's history, as the JSON that they get."""

from collections.abc import Sequence
from typing import Protocol

import orjson

from matrixd.core.filters import EventFilter
from matrixd.core.streams import RoomToken
from matrixd.queries.client_events import ClientEvents, json_array, json_object, plain_json
from matrixd.queries.event_context import Context, load_context, load_event
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.relations import EventList, RelationsRequest, load_relations, load_threads
from matrixd.queries.room_state_reads import plain_list
from matrixd.queries.timeline_pages import Page, PageRequest, load_page
from matrixd.storage.database import Database
from matrixd.storage.event_relations import MAX_LEVELS
from matrixd.storage.timeline_gaps import Gap
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

_NO_FILTER = EventFilter()


#: How long a client waits for history that is fetched from other servers, in seconds.
PATIENCE_S = 12.0


class Fetch(Protocol):
    """Fetches history of a room from other servers; whether there is more of it than before."""

    async def __call__(self, room_id: str, holes: Sequence[Gap], within_s: float, /) -> bool: ...


class RoomHistory:
    """Reads the histories of rooms. Each answer takes one read; what can be large is put together in its thread.

    `fetch` fetches what is missing where somebody pages back to it; without it the answer is what is here.
    """

    def __init__(
        self, database: Database, client_events: ClientEvents, clock: Clock, fetch: Fetch | None = None
    ) -> None:
        self._database = database
        self._client_events = client_events
        self._clock = clock
        self._fetch = fetch

    async def messages(self, viewer: Viewer, room_id: str, request: PageRequest) -> bytes:
        """The answer to `/messages`. Raises M_FORBIDDEN, and M_INVALID_PARAM for tokens of another room."""
        page = await self._page(viewer, room_id, request)
        start = orjson.dumps(request.start_text) if request.start_text else _token(page.start)
        members = [("chunk", json_array(self._shown(page))), ("start", start)]
        if page.end is not None:
            members.append(("end", _token(page.end)))
        if request.filter.lazy_load_members:
            now, details = self._clock.now_ms(), page.member_details
            members.append(("state", json_array(plain_json(stored, details, now) for stored in page.members)))
        return json_object(members)

    async def _page(self, viewer: Viewer, room_id: str, request: PageRequest) -> Page:
        """A page; what is missing in it is fetched, as far as it comes in time."""
        until = self._clock.monotonic() + PATIENCE_S
        while True:
            page = await self._database.read(load_page, viewer, room_id, request)
            left = until - self._clock.monotonic()
            if not page.holes or self._fetch is None or left <= 0:
                return page
            if not await self._fetch(room_id, page.holes, left):
                return page

    async def context(
        self, viewer: Viewer, room_id: str, event_id: str, limit: int, event_filter: EventFilter
    ) -> bytes:
        """The answer to `/context`. Raises M_FORBIDDEN and M_NOT_FOUND."""
        context, state = await self._database.read(
            _context, viewer, room_id, event_id, limit, event_filter, self._clock.now_ms()
        )
        histories = {context.event.room_nid: context.history}
        event, *around = self._client_events.assemble(
            histories, [context.event, *context.before, *context.after], context.details
        )
        return json_object(
            [
                ("start", _token(context.start)),
                ("end", _token(context.end)),
                ("events_before", json_array(around[: len(context.before)])),
                ("event", event),
                ("events_after", json_array(around[len(context.before) :])),
                ("state", state),
            ]
        )

    async def event(self, viewer: Viewer, room_id: str | None, event_id: str) -> bytes:
        """One event of a room, or with None of any. Raises M_NOT_FOUND for all that the viewer may not see."""
        stored, history, details = await self._database.read(load_event, viewer, room_id, event_id)
        return self._client_events.assemble({stored.room_nid: history}, [stored], details)[0]

    async def relations(self, viewer: Viewer, room_id: str, event_id: str, request: RelationsRequest) -> bytes:
        """The answer to `/relations`. Raises M_NOT_FOUND and M_INVALID_PARAM."""
        found = await self._database.read(load_relations, viewer, room_id, event_id, request)
        members = self._listed(found)
        if request.start is not None:
            members.append(("prev_batch", _token(request.start)))
        if request.recurse:
            members.append(("recursion_depth", b"%d" % MAX_LEVELS))
        return json_object(members)

    async def threads(
        self, viewer: Viewer, room_id: str, before: RoomToken | None, limit: int, *, only_own: bool
    ) -> bytes:
        """The answer to `/threads`. Raises M_FORBIDDEN and M_INVALID_PARAM."""
        found = await self._database.read(load_threads, viewer, room_id, before, limit, only_own=only_own)
        return json_object(self._listed(found))

    def _shown(self, page: Page) -> list[bytes]:
        return self._client_events.assemble({page.access.room.room_nid: page.history}, page.shown, page.details)

    def _listed(self, found: EventList) -> list[tuple[str, bytes]]:
        histories = {stored.room_nid: found.history for stored in found.shown}
        members = [("chunk", json_array(self._client_events.assemble(histories, found.shown, found.details)))]
        if found.next_batch is not None:
            members.append(("next_batch", _token(found.next_batch)))
        return members


def _token(token: RoomToken) -> bytes:
    return orjson.dumps(str(token))


def _context(
    tx: Transaction, viewer: Viewer, room_id: str, event_id: str, limit: int, event_filter: EventFilter, now: int
) -> tuple[Context, bytes]:
    context = load_context(tx, viewer, room_id, event_id, limit, event_filter)
    return context, plain_list(tx, viewer, context.state, now)
