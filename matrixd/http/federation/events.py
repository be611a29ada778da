"""Events and state for other servers: `data/api/server-server/events.yaml` of the specification."""

from matrixd.core.identifiers import validate_event_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.federation.room_events import RoomEvents
from matrixd.queries.federation.room_states import RoomStates
from matrixd.queries.server_acls import ServerAcls


class Events:
    """`/event`, `/state`, `/state_ids`, `/timestamp_to_event`."""

    def __init__(self, events: RoomEvents, states: RoomStates, acls: ServerAcls) -> None:
        self._events = events
        self._states = states
        self._acls = acls

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/event/{eventId}", self.event,
                spec="get_matrixfederationv1eventeventid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/federation/v1/state/{roomId}", self.state,
                spec="get_matrixfederationv1stateroomid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/federation/v1/state_ids/{roomId}", self.state_ids,
                spec="get_matrixfederationv1state_idsroomid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/federation/v1/timestamp_to_event/{roomId}", self.nearest,
                spec="get_matrixfederationv1timestamp_to_eventroomid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
        ]

    async def event(self, call: Call) -> object:
        """One event."""
        return await self._events.event(call.origin, validate_event_id(call.path("eventId"), "eventId"))

    async def state(self, call: Call) -> object:
        """The state before an event, with its auth chain."""
        return await self._states.state(*await self._place(call))

    async def state_ids(self, call: Call) -> object:
        """The same as event IDs."""
        return await self._states.state_ids(*await self._place(call))

    async def _place(self, call: Call) -> tuple[str, str, str]:
        event_id = validate_event_id(call.require_query("event_id"), "event_id")
        room_id = call.path("roomId")
        await self._acls.check(room_id, call.origin)
        return call.origin, room_id, event_id

    async def nearest(self, call: Call) -> object:
        """The event nearest to a moment."""
        call.require_query("ts")
        ts = call.query_int("ts", 0)
        backwards = call.query_one_of("dir", ("f", "b")) == "b"
        return await self._events.nearest(call.origin, call.path("roomId"), ts, backwards=backwards)
