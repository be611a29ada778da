"""`PUT /rooms/{roomId}/state/{eventType}/{stateKey}`, with and without the state key (room_state.yaml)."""

from matrixd.http.client.massaged_time import massaged_time
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.state_changes import StateChanges


class RoomStateChange:
    """Setting room state."""

    def __init__(self, changes: StateChanges) -> None:
        self._changes = changes

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "PUT", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", self.put,
                spec="put_matrixclientv3roomsroomidstateeventtypestatekey", auth=Auth.GUEST, limit="message",
            ),
            Route(
                "PUT", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}", self.put_without_key,
                spec="put_matrixclientv3roomsroomidstateeventtypestatekey", auth=Auth.GUEST, limit="message",
            ),
        ]

    async def put(self, call: Call) -> object:
        """Set a state event; the body is its content."""
        return await self._put(call, call.path("stateKey"))

    async def put_without_key(self, call: Call) -> object:
        """The same with an empty state key, when even the slash before it is left out."""
        return await self._put(call, "")

    async def _put(self, call: Call, state_key: str) -> object:
        event_id = await self._changes.put(
            call.requester, call.path("roomId"), call.path("eventType"), state_key, call.json_object(),
            massaged_time(call),
        )
        return {"event_id": event_id}
