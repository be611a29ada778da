"""Messages to devices: `data/api/client-server/to_device.yaml` of the specification."""

from typing import Any

from msgspec import Struct

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.to_device import ToDevice as ToDeviceService

#: Bytes of a request: as many messages as a client that encrypts for a large room sends at once.
_MAX_BODY = 4 * 1024 * 1024


class _Messages(Struct):
    messages: dict[str, dict[str, dict[str, Any]]]


class ToDevice:
    """The endpoint."""

    def __init__(self, to_device: ToDeviceService) -> None:
        self._to_device = to_device

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "PUT", "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", self.put,
                spec="put_matrixclientv3sendtodeviceeventtypetxnid", auth=Auth.GUEST, max_body=_MAX_BODY,
            )
        ]  # fmt: skip

    async def put(self, call: Call) -> object:
        """Send messages to devices."""
        await self._to_device.send(
            call.requester, call.path("eventType"), call.path("txnId"), call.body(_Messages).messages
        )
        return {}
