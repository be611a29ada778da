"""One event, the state and the members of a room: `data/api/client-server/rooms.yaml` of the specification."""

from matrixd.http.client.room_reading import RoomReading
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.members import Members, MembersRequest
from matrixd.queries.room_history import RoomHistory
from matrixd.queries.room_state_reads import RoomStateReads

_MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")
_ROOM = "/_matrix/client/v3/rooms/{roomId}"


class Rooms:
    """The endpoints. Guests may use them, so that they can look into rooms that the world may read."""

    def __init__(self, reading: RoomReading, history: RoomHistory, state: RoomStateReads, members: Members) -> None:
        self._reading = reading
        self._history = history
        self._state = state
        self._members = members

    def routes(self) -> list[Route]:
        """The endpoints."""
        state_with_key = "get_matrixclientv3roomsroomidstateeventtypestatekey"
        return [
            Route(
                "GET", f"{_ROOM}/event/{{eventId}}", self.event,
                spec="get_matrixclientv3roomsroomideventeventid", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", f"{_ROOM}/state", self.state,
                spec="get_matrixclientv3roomsroomidstate", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", f"{_ROOM}/state/{{eventType}}", self.state_with_key,
                spec=state_with_key, auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", f"{_ROOM}/state/{{eventType}}/{{stateKey}}", self.state_with_key,
                spec=state_with_key, auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", f"{_ROOM}/members", self.members,
                spec="get_matrixclientv3roomsroomidmembers", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", f"{_ROOM}/joined_members", self.joined_members,
                spec="get_matrixclientv3roomsroomidjoined_members", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
        ]  # fmt: skip

    async def event(self, call: Call) -> object:
        """One event."""
        return await self._history.event(await self._reading.viewer(call), call.path("roomId"), call.path("eventId"))

    async def state(self, call: Call) -> object:
        """The whole state."""
        return await self._state.everything(await self._reading.viewer(call), call.path("roomId"))

    async def state_with_key(self, call: Call) -> object:
        """One state event, or its content alone."""
        form = call.query_one_of("format", ("content", "event"), "content")
        read = self._state.event if form == "event" else self._state.content
        state_key = call.parameters.get("stateKey", "")
        return await read(await self._reading.viewer(call), call.path("roomId"), call.path("eventType"), state_key)

    async def members(self, call: Call) -> object:
        """The member events."""
        request = MembersRequest(
            self._reading.token(call, "at"), _membership(call, "membership"), _membership(call, "not_membership")
        )
        return await self._members.events(await self._reading.viewer(call), call.path("roomId"), request)

    async def joined_members(self, call: Call) -> object:
        """The names and avatars of those who are in the room."""
        return await self._members.joined(await self._reading.viewer(call), call.path("roomId"))


def _membership(call: Call, name: str) -> str | None:
    return call.query_one_of(name, _MEMBERSHIPS, "") or None
