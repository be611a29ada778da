"""What stands around an event: `data/api/client-server/event_context.yaml` of the specification."""

from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.room_history import RoomHistory


class EventContext:
    """`GET /rooms/{roomId}/context/{eventId}`."""

    def __init__(self, reading: RoomReading, history: RoomHistory) -> None:
        self._reading = reading
        self._history = history

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v3/rooms/{roomId}/context/{eventId}", self.context,
                spec="get_matrixclientv3roomsroomidcontexteventid", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def context(self, call: Call) -> object:
        """An event and those around it."""
        event_filter = self._reading.filter(call)
        limit = self._reading.limit(call, event_filter)
        viewer = await self._reading.viewer(call)
        return await self._history.context(viewer, call.path("roomId"), call.path("eventId"), limit, event_filter)
