"""Third-party invites: `third_party_invite.yaml`.

https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from collections.abc import Mapping
from typing import Any

from matrixd.net.federation_client import FederationClient
from matrixd.net.handshakes import SEND_S, V1
from matrixd.net.paths import path_of


class RemoteThirdParty:
    """Asks a server in a room to turn third-party invites into invites. Raises RemoteError."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def exchange(self, destination: str, room_id: str, event: Mapping[str, Any]) -> None:
        """Have the server that sent the third-party invite invite the user; `event` is the partial m.room.member event.

        https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
        """
        path = path_of(f"{V1}/exchange_third_party_invite/{{}}", room_id)
        await self._client.put(destination, path, event, timeout_s=SEND_S)
