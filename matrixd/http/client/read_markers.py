"""Read markers: `data/api/client-server/read_markers.yaml` of the specification."""

from msgspec import Struct, field

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.read_markers import ReadMarkers as ReadMarkersService
from matrixd.storage.receipts import READ, READ_PRIVATE


class _Markers(Struct):
    # Some clients send null for what they do not want to move.
    fully_read: str | None = field(default=None, name="m.fully_read")
    read: str | None = field(default=None, name="m.read")
    read_private: str | None = field(default=None, name="m.read.private")


class ReadMarkers:
    """The endpoint of read markers."""

    def __init__(self, read_markers: ReadMarkersService) -> None:
        self._read_markers = read_markers

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/read_markers", self.post,
                spec="post_matrixclientv3roomsroomidread_markers", max_body=8192,
            ),
        ]  # fmt: skip

    async def post(self, call: Call) -> object:
        """Move the fully read marker and receipts."""
        markers = call.body(_Markers)
        read = {READ: markers.read, READ_PRIVATE: markers.read_private}
        await self._read_markers.set(
            call.requester.user_nid, call.requester.user_id, call.path("roomId"), markers.fully_read,
            {receipt_type: event_id for receipt_type, event_id in read.items() if event_id is not None},
        )  # fmt: skip
        return {}
