"""The threads of a room: `data/api/client-server/threads_list.yaml` of the specification."""

from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.room_history import RoomHistory

_DEFAULT_LIMIT = 20
_MAX_LIMIT = 100


class ThreadsList:
    """`GET /rooms/{roomId}/threads`."""

    def __init__(self, reading: RoomReading, history: RoomHistory) -> None:
        self._reading = reading
        self._history = history

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v1/rooms/{roomId}/threads", self.threads,
                spec="get_matrixclientv1roomsroomidthreads", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def threads(self, call: Call) -> object:
        """One page of the roots of threads."""
        only_own = call.query_one_of("include", ("all", "participated"), "all") == "participated"
        limit = call.query_int("limit", _DEFAULT_LIMIT, minimum=1, maximum=_MAX_LIMIT)
        before = self._reading.token(call, "from")
        viewer = await self._reading.viewer(call)
        return await self._history.threads(viewer, call.path("roomId"), before, limit, only_own=only_own)
