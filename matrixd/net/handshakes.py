"""What joining, knocking and leaving have in common: a template from another server, which is signed and sent back.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matrixd.net import answer_fields as fields
from matrixd.net.federation_client import FederationClient
from matrixd.net.paths import path_of

V1: Final = "/_matrix/federation/v1"
V2: Final = "/_matrix/federation/v2"
#: For what somebody waits for although another server may be asked, in seconds.
TEMPLATE_S: Final = 20.0
SEND_S: Final = 40.0
#: A template is an event without signatures.
_MAX_TEMPLATE_BYTES = 256 * 1024
_MAX_VERSION = 32


@dataclass(frozen=True, slots=True)
class Made:
    """An unsigned event that another server would accept; nothing of it is checked.

    room_version: None if the server did not say; then it is "1".
    """

    room_version: str | None
    event: Mapping[str, Any]


async def make(
    client: FederationClient, what: str, destination: str, room_id: str, user_id: str, versions: Sequence[str]
) -> Made:
    """`GET /make_join`, `/make_knock`, `/make_leave`. Raises RemoteError."""
    path = path_of(f"{V1}/{what}/{{}}/{{}}", room_id, user_id)
    query = [("ver", version) for version in versions]
    answer = await client.get(destination, path, query, timeout_s=TEMPLATE_S, max_bytes=_MAX_TEMPLATE_BYTES)
    version = fields.text(destination, answer, "room_version", _MAX_VERSION, required=False)
    return Made(version, fields.mapping(destination, answer, "event"))
