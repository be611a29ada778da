"""Receipts: `data/api/client-server/receipts.yaml` of the specification."""

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.account_data import FULLY_READ
from matrixd.services.read_markers import ReadMarkers
from matrixd.services.receipts import TYPES
from matrixd.services.receipts import Receipts as ReceiptsService

_MAX_BODY = 8192


class Receipts:
    """The endpoint of receipts; `m.fully_read` goes to the read markers."""

    def __init__(self, receipts: ReceiptsService, read_markers: ReadMarkers) -> None:
        self._receipts = receipts
        self._read_markers = read_markers

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", self.post,
                spec="post_matrixclientv3roomsroomidreceiptreceipttypeeventid", max_body=_MAX_BODY,
            ),
        ]  # fmt: skip

    async def post(self, call: Call) -> object:
        """Acknowledge an event and all before it."""
        requester, room_id, event_id = call.requester, call.path("roomId"), call.path("eventId")
        receipt_type = call.path("receiptType")
        body = call.json_object()
        thread_id = body.get("thread_id")
        if "thread_id" in body and not (isinstance(thread_id, str) and thread_id):
            raise MatrixError(400, "M_INVALID_PARAM", "'thread_id' must be a string that is not empty.")
        if receipt_type == FULLY_READ:
            if thread_id is not None:
                raise MatrixError(400, "M_INVALID_PARAM", f"'thread_id' is not for '{FULLY_READ}'.")
            await self._read_markers.set(requester.user_nid, requester.user_id, room_id, event_id, {})
        elif receipt_type in TYPES:
            await self._receipts.send(
                requester.user_nid, requester.user_id, room_id, receipt_type, event_id, thread_id
            )
        else:
            known = ", ".join(sorted({*TYPES, FULLY_READ}))
            raise MatrixError(400, "M_INVALID_PARAM", f"'receiptType' must be one of {known}.")
        return {}
