"""What was there before `/sync`: `data/api/client-server/old_sync.yaml` of the specification."""

from matrixd.core.errors import MatrixError
from matrixd.http.client.event_polling import EventPolling
from matrixd.http.client.peeking_events import PeekingEvents
from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.old_sync.own_rooms import OwnRooms
from matrixd.queries.old_sync.snapshot import Snapshot
from matrixd.queries.room_history import RoomHistory
from matrixd.services.presence import Presence

#: Messages of one room, when the client does not say, and at most.
DEFAULT_LIMIT = 10
MAX_LIMIT = 100


class OldSync:
    """`/events`, `/initialSync` and `/events/{eventId}`."""

    def __init__(
        self,
        reading: RoomReading,
        polling: EventPolling,
        own_rooms: OwnRooms,
        peeking: PeekingEvents,
        snapshot: Snapshot,
        history: RoomHistory,
        presence: Presence,
    ) -> None:
        self._reading = reading
        self._polling = polling
        self._own_rooms = own_rooms
        self._peeking = peeking
        self._snapshot = snapshot
        self._history = history
        self._presence = presence

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/client/v3/events", self.events,
                spec="get_matrixclientv3events", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/client/v3/initialSync", self.initial_sync,
                spec="get_matrixclientv3initialsync", runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/client/v3/events/{eventId}", self.event,
                spec="get_matrixclientv3eventseventid", runs_on=RunsOn.ANY,
            ),
        ]  # fmt: skip

    async def events(self, call: Call) -> object:
        """What happens in the user's rooms, or in the one that `room_id` names: only that is for guests."""
        if call.query("room_id") is not None:
            return await self._peeking.events(call)
        if call.requester.is_guest:
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests must name a room: 'room_id' is missing.")
        request = await self._polling.request(call)
        async with self._polling.online(call):
            return await self._own_rooms.events(request, call.on_stop)

    async def initial_sync(self, call: Call) -> object:
        """All that the user has."""
        limit = call.query_int("limit", DEFAULT_LIMIT, maximum=MAX_LIMIT)
        archived = call.query_bool("archived")
        requester = call.requester
        async with self._polling.online(call):
            own = await self._presence.get(requester.user_nid, requester.user_id) if self._presence.is_on else None
            viewer = await self._reading.viewer(call)
            return await self._snapshot.answer(viewer, requester.device_nid, limit, archived, own)

    async def event(self, call: Call) -> object:
        """One event, whatever its room."""
        return await self._history.event(await self._reading.viewer(call), None, call.path("eventId"))
