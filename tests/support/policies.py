"""Policy servers for tests: one that signs as it is told, and none."""

from __future__ import annotations

from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.hashing import signed_bytes
from matrixd.core.policy_server import KEY_ID
from matrixd.core.signing import SigningKey
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.policy_servers import PolicyServers


class Signer:
    """Plays a policy server's ``/sign``: `refusal` is what it answers instead of a signature."""

    def __init__(self, server_name: str, key: SigningKey, version: RoomVersion = ROOM_VERSIONS["11"]) -> None:
        self.server_name = server_name
        self.key = key
        self.version = version
        self.refusal: MatrixError | None = None
        self.asked: list[Event] = []

    async def post(
        self, destination: str, path: str, content: Any, *, timeout_s: float | None = None, max_bytes: int = 0
    ) -> Any:
        """The signature, or the refusal."""
        assert (destination, path) == (self.server_name, "/_matrix/policy/v1/sign")
        event = Event.from_pdu(self.version, content)
        self.asked.append(event)
        if self.refusal is not None:
            raise RemoteError(
                destination, FailureKind.HTTP, self.refusal.error, status=self.refusal.status,
                errcode=self.refusal.errcode,
            )
        return {self.server_name: {KEY_ID: self.key.sign(signed_bytes(event.version, event.pdu))}}


def no_policies(server_name: str) -> PolicyServers:
    """For rooms of which none has a policy server."""
    return PolicyServers(server_name, Signer("", SigningKey.from_seed("1", bytes(32))))
