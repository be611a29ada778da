"""Pages of a room's history: `data/api/client-server/message_pagination.yaml` of the specification."""

from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.room_history import RoomHistory
from matrixd.queries.timeline_pages import PageRequest


class MessagePagination:
    """`GET /rooms/{roomId}/messages`."""

    def __init__(self, reading: RoomReading, history: RoomHistory) -> None:
        self._reading = reading
        self._history = history

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v3/rooms/{roomId}/messages", self.messages,
                spec="get_matrixclientv3roomsroomidmessages", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def messages(self, call: Call) -> object:
        """One page."""
        event_filter = self._reading.filter(call)
        request = PageRequest(
            backwards=call.query_one_of("dir", ("b", "f")) == "b",
            start=self._reading.token(call, "from"),
            end=self._reading.token(call, "to"),
            limit=self._reading.limit(call, event_filter),
            filter=event_filter,
            start_text=call.query("from"),
        )
        return await self._history.messages(await self._reading.viewer(call), call.path("roomId"), request)
