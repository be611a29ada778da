"""A look into one room: `data/api/client-server/room_initial_sync.yaml` of the specification."""

from matrixd.http.client.old_sync import DEFAULT_LIMIT, MAX_LIMIT
from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.old_sync.room_snapshot import RoomSnapshot


class RoomInitialSync:
    """`GET /rooms/{roomId}/initialSync`."""

    def __init__(self, reading: RoomReading, snapshot: RoomSnapshot) -> None:
        self._reading = reading
        self._snapshot = snapshot

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v3/rooms/{roomId}/initialSync", self.initial_sync,
                spec="get_matrixclientv3roomsroomidinitialsync", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def initial_sync(self, call: Call) -> object:
        """State and newest messages of a room. `limit`, which the specification lost, bounds the messages."""
        limit = call.query_int("limit", DEFAULT_LIMIT, maximum=MAX_LIMIT)
        return await self._snapshot.answer(await self._reading.viewer(call), call.path("roomId"), limit)
