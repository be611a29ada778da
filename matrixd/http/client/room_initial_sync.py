"""A look into one room: `data/api/client-server/room_initial_sync.yaml` of the specification."""

from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.room_history import RoomHistory

_DEFAULT_LIMIT = 10
_MAX_LIMIT = 100


class RoomInitialSync:
    """`GET /rooms/{roomId}/initialSync`, and `GET /events/{eventId}` of the same age."""

    def __init__(self, reading: RoomReading, history: RoomHistory) -> None:
        self._reading = reading
        self._history = history

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/client/v3/rooms/{roomId}/initialSync", self.initial_sync,
                spec="get_matrixclientv3roomsroomidinitialsync", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/client/v3/events/{eventId}", self.event,
                spec="get_matrixclientv3eventseventid", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
        ]  # fmt: skip

    async def initial_sync(self, call: Call) -> object:
        """State and newest messages of a room. `limit`, which the specification lost, bounds the messages."""
        limit = call.query_int("limit", _DEFAULT_LIMIT, maximum=_MAX_LIMIT)
        return await self._history.initial_sync(await self._reading.viewer(call), call.path("roomId"), limit)

    async def event(self, call: Call) -> object:
        """One event, whatever its room."""
        return await self._history.event(await self._reading.viewer(call), None, call.path("eventId"))
