"""`PUT /rooms/{roomId}/redact/{eventId}/{txnId}`."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.redaction_limits import RedactionLimits
from matrixd.services.sending import Sending


class Redaction:
    """Redacting events."""

    def __init__(self, sending: Sending, limits: RedactionLimits) -> None:
        self._sending = sending
        self._limits = limits

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "PUT", "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}", self.redact,
                spec="put_matrixclientv3roomsroomidredacteventidtxnid",
            ),
        ]

    async def redact(self, call: Call) -> object:
        """Redact an event."""
        await self._limits.check(call.requester, call.path("roomId"))
        event_id = await self._sending.redact(
            call.requester, call.path("roomId"), call.path("eventId"), call.json_object(), call.path("txnId")
        )
        return {"event_id": event_id}
