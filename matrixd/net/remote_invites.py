"""Inviting users of other servers: `invites-v1.yaml` and `invites-v2.yaml`.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.net import answer_fields as fields
from matrixd.net.federation_client import FederationClient
from matrixd.net.handshakes import SEND_S, V1, V2
from matrixd.net.paths import path_of


class RemoteInvites:
    """Asks other servers to sign invites of their users. Each method raises RemoteError.

    "Servers should prefer to use the v2 API"; whoever gets the first one "must assume that the room version is either
    1 or 2", so that it is of use for these only.
    """

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def invite(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        room_version: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """Send an invite; the event with the other server's signature.

        https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
        """
        content = {"room_version": room_version, "event": pdu, "invite_room_state": list(room_state)}
        path = path_of(f"{V2}/invite/{{}}/{{}}", room_id, event_id)
        answer = await self._client.put(destination, path, content, timeout_s=SEND_S)
        return fields.mapping(destination, answer, "event")

    async def invite_v1(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """The same in the first version, for rooms of version 1 and 2.

        https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid
        """
        content = {**pdu, "unsigned": {"invite_room_state": list(room_state)}}
        path = path_of(f"{V1}/invite/{{}}/{{}}", room_id, event_id)
        answer = await self._client.put(destination, path, content, timeout_s=SEND_S)
        if not isinstance(answer, list) or len(answer) != 2:
            raise fields.bad_answer(destination, "the answer must be a list of 200 and an object")
        return fields.mapping(destination, answer[1], "event")
