"""Users of other servers: `query.yaml` (profiles), `user_devices.yaml` and `user_keys.yaml`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from matrixd.net import answer_fields as fields
from matrixd.net.federation_client import FederationClient
from matrixd.net.handshakes import V1
from matrixd.net.paths import path_of

#: A profile has at most 64 KiB (client-server API, "Profiles").
_MAX_PROFILE_BYTES = 256 * 1024
_QUERY_S = 20.0

ByUser = dict[str, dict[str, Any]]


class _Devices(msgspec.Struct):
    user_id: str
    stream_id: int
    devices: list[dict[str, Any]]
    master_key: dict[str, Any] | None = None
    self_signing_key: dict[str, Any] | None = None


class _Keys(msgspec.Struct):
    device_keys: dict[str, dict[str, dict[str, Any]]] = {}
    master_keys: ByUser = {}
    self_signing_keys: ByUser = {}


class _Claimed(msgspec.Struct):
    one_time_keys: dict[str, dict[str, dict[str, Any]]]


class RemoteUsers:
    """Asks other servers about their users. Each method raises `RemoteError`.

    Answers are as the other server gave them, with the shape that is checked: what it says of users of other servers,
    and the signatures, are the caller's to look at.
    """

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def profile(self, destination: str, user_id: str, field: str | None = None) -> Mapping[str, Any]:
        """A user's profile, or one field of it.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
        """
        query = [("user_id", user_id), *([("field", field)] if field is not None else [])]
        answer = await self._client.get(
            destination, f"{V1}/query/profile", query, timeout_s=_QUERY_S, max_bytes=_MAX_PROFILE_BYTES
        )
        return fields.whole(destination, answer)

    async def devices(self, destination: str, user_id: str) -> Mapping[str, Any]:
        """A user's devices: `user_id`, `stream_id`, `devices`, and the cross-signing keys.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
        """
        answer = await self._client.get(destination, path_of(f"{V1}/user/devices/{{}}", user_id))
        fields.shaped(destination, answer, _Devices)
        return fields.whole(destination, answer)

    async def keys_query(self, destination: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The identity keys of some users' devices; `content` is `{"device_keys": {user: [device, …]}}`.

        https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
        """
        answer = await self._client.post(destination, f"{V1}/user/keys/query", content, timeout_s=_QUERY_S)
        fields.shaped(destination, answer, _Keys)
        return fields.whole(destination, answer)

    async def keys_claim(self, destination: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """One-time keys; `content` is `{"one_time_keys": {user: {device: algorithm}}}`.

        https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
        """
        answer = await self._client.post(destination, f"{V1}/user/keys/claim", content, timeout_s=_QUERY_S)
        fields.shaped(destination, answer, _Claimed)
        return fields.whole(destination, answer)
