"""Auth chains for other servers: `data/api/server-server/event_auth.yaml` of the specification."""

from matrixd.core.identifiers import validate_event_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.federation.room_states import RoomStates
from matrixd.queries.server_acls import ServerAcls


class EventAuth:
    """`/event_auth`."""

    def __init__(self, states: RoomStates, acls: ServerAcls) -> None:
        self._states = states
        self._acls = acls

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/event_auth/{roomId}/{eventId}", self.chain,
                spec="get_matrixfederationv1event_authroomideventid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def chain(self, call: Call) -> object:
        """The auth chain of an event."""
        room_id, event_id = call.path("roomId"), validate_event_id(call.path("eventId"), "eventId")
        await self._acls.check(room_id, call.origin)
        return await self._states.event_auth(call.origin, room_id, event_id)
