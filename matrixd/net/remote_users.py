"""Users of other servers: `query.yaml` (profiles), `user_devices.yaml` and `user_keys.yaml`."""

from collections.abc import Mapping
from typing import Any

from matrixd.net import answer_fields as fields
from matrixd.net.federation_client import FederationClient
from matrixd.net.paths import path_of


class RemoteUsers:
    """Asks other servers about their users. Each method raises `RemoteError`."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def profile(self, destination: str, user_id: str, field: str | None = None) -> Mapping[str, Any]:
        """A user's profile, or one field of it."""
        query = [("user_id", user_id), *([("field", field)] if field is not None else [])]
        answer = await self._client.get(destination, "/_matrix/federation/v1/query/profile", query)
        return fields.whole(destination, answer)

    async def devices(self, destination: str, user_id: str) -> Mapping[str, Any]:
        """A user's devices."""
        path = path_of("/_matrix/federation/v1/user/devices/{}", user_id)
        return fields.whole(destination, await self._client.get(destination, path))

    async def keys_query(self, destination: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The identity keys of some users' devices."""
        return fields.whole(
            destination, await self._client.post(destination, "/_matrix/federation/v1/user/keys/query", content)
        )

    async def keys_claim(self, destination: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """One-time keys of some users' devices."""
        return fields.whole(
            destination, await self._client.post(destination, "/_matrix/federation/v1/user/keys/claim", content)
        )
