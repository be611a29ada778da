"""The children of an event: `data/api/client-server/relations.yaml` of the specification."""

from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.relations import RelationsRequest
from matrixd.queries.room_history import RoomHistory

_RELATIONS = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}"
_DEFAULT_LIMIT = 50
_MAX_LIMIT = 500


class Relations:
    """`GET /rooms/{roomId}/relations/{eventId}`, with and without `/{relType}` and `/{eventType}`."""

    def __init__(self, reading: RoomReading, history: RoomHistory) -> None:
        self._reading = reading
        self._history = history

    def routes(self) -> list[Route]:
        """The endpoints."""
        operation = "get_matrixclientv1roomsroomidrelationseventid"
        return [
            Route("GET", _RELATIONS, self.children, spec=operation, auth=Auth.GUEST, runs_on=RunsOn.ANY),
            Route(
                "GET", _RELATIONS + "/{relType}", self.children,
                spec=f"{operation}reltype", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", _RELATIONS + "/{relType}/{eventType}", self.children,
                spec=f"{operation}reltypeeventtype", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
        ]  # fmt: skip

    async def children(self, call: Call) -> object:
        """One page of children."""
        request = RelationsRequest(
            rel_type=call.parameters.get("relType"),
            event_type=call.parameters.get("eventType"),
            recurse=call.query_bool("recurse"),
            backwards=call.query_one_of("dir", ("b", "f"), "b") == "b",
            start=self._reading.token(call, "from"),
            end=self._reading.token(call, "to"),
            limit=call.query_int("limit", _DEFAULT_LIMIT, minimum=1, maximum=_MAX_LIMIT),
        )
        viewer = await self._reading.viewer(call)
        return await self._history.relations(viewer, call.path("roomId"), call.path("eventId"), request)
