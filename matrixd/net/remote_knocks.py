"""Knocking on rooms of other servers: `knocks.yaml`.

https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.net import answer_fields as fields
from matrixd.net.federation_client import FederationClient
from matrixd.net.handshakes import SEND_S, V1, Made, make
from matrixd.net.paths import path_of

_MAX_STATE = 1_000


class RemoteKnocks:
    """Knocks. Each method raises RemoteError."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def make_knock(self, destination: str, room_id: str, user_id: str, versions: Sequence[str]) -> Made:
        """The template of a knock.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
        """
        return await make(self._client, "make_knock", destination, room_id, user_id, versions)

    async def send_knock(
        self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """Send a signed knock; the room's `knock_room_state`.

        https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
        """
        path = path_of(f"{V1}/send_knock/{{}}/{{}}", room_id, event_id)
        answer = await self._client.put(destination, path, pdu, timeout_s=SEND_S)
        # It is required; but the knock has been made by now, and can do without.
        return fields.objects(destination, answer, "knock_room_state", _MAX_STATE, required=False)
