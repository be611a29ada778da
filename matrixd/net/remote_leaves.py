"""Leaving rooms, and rejecting invites, by other servers: `leaving-v1.yaml` and `leaving-v2.yaml`.

https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
"""

from collections.abc import Mapping
from typing import Any

from matrixd.net.errors import RemoteError
from matrixd.net.federation_client import FederationClient
from matrixd.net.handshakes import SEND_S, V1, V2, Made, make
from matrixd.net.paths import path_of


class RemoteLeaves:
    """Asks other servers to let users out. Each method raises RemoteError."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def make_leave(self, destination: str, room_id: str, user_id: str) -> Made:
        """The template of a leave.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
        """
        return await make(self._client, "make_leave", destination, room_id, user_id, ())

    async def send_leave(self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> None:
        """Send a signed leave; nothing of the answer matters. Servers that do not know version 2 get version 1.

        https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
        """
        try:
            path = path_of(f"{V2}/send_leave/{{}}/{{}}", room_id, event_id)
            await self._client.put(destination, path, pdu, timeout_s=SEND_S)
        except RemoteError as error:
            if not is_unknown_endpoint(error):
                raise
            path = path_of(f"{V1}/send_leave/{{}}/{{}}", room_id, event_id)
            await self._client.put(destination, path, pdu, timeout_s=SEND_S)


def is_unknown_endpoint(error: RemoteError) -> bool:
    """Whether the other server does not know what it was asked for.

    Old ones say it with 400, or without errcode. https://spec.matrix.org/v1.19/server-server-api/#unsupported-endpoints
    """
    if error.errcode == "M_UNRECOGNIZED":
        return error.status in (400, 404, 405)
    return error.status in (404, 405) and error.errcode is None
