"""The event nearest to a moment: `data/api/client-server/room_event_by_timestamp.yaml` of the specification."""

from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.jump_to_date import JumpToDate


class RoomEventByTimestamp:
    """`GET /rooms/{roomId}/timestamp_to_event`."""

    def __init__(self, reading: RoomReading, jumps: JumpToDate) -> None:
        self._reading = reading
        self._jumps = jumps

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", self.nearest,
                spec="get_matrixclientv1roomsroomidtimestamp_to_event", auth=Auth.GUEST,
            )
        ]  # fmt: skip

    async def nearest(self, call: Call) -> object:
        """The nearest event before or after a moment."""
        call.require_query("ts")
        ts = call.query_int("ts", 0)
        backwards = call.query_one_of("dir", ("f", "b")) == "b"
        return await self._jumps.nearest(await self._reading.viewer(call), call.path("roomId"), ts, backwards)
