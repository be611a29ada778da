"""`PUT /rooms/{roomId}/send/{eventType}/{txnId}`, and what older clients make of it."""

from matrixd.http.client.massaged_time import massaged_time
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.sending import Message, Sending


class RoomSend:
    """Sending message events."""

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "PUT", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", self.send,
                spec="put_matrixclientv3roomsroomidsendeventtypetxnid", auth=Auth.GUEST, limit="message",
            ),
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}", self.send,
                spec="put_matrixclientv3roomsroomidsendeventtypetxnid", auth=Auth.GUEST, limit="message",
            ),
        ]

    async def send(self, call: Call) -> object:
        """Send an event; the body is its content. Without a transaction ID each request sends one."""
        message = Message(
            call.path("roomId"), call.path("eventType"), call.json_object(), call.parameters.get("txnId"),
            massaged_time(call),
        )  # fmt: skip
        return {"event_id": await self._sending.send(call.requester, message)}
