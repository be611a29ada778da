"""Keys of users' devices for other servers: `data/api/server-server/user_keys.yaml` of the specification."""

import msgspec

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.federation.local_users import LocalUsers


class _Query(msgspec.Struct):
    device_keys: dict[str, list[str]]


class _Claim(msgspec.Struct):
    one_time_keys: dict[str, dict[str, str]]


class UserKeys:
    """`/user/keys/query` and `/user/keys/claim`. There are no keys here yet, so the users that exist have none."""

    def __init__(self, users: LocalUsers) -> None:
        self._users = users

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "POST", "/_matrix/federation/v1/user/keys/query", self.query,
                spec="post_matrixfederationv1userkeysquery", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "POST", "/_matrix/federation/v1/user/keys/claim", self.claim,
                spec="post_matrixfederationv1userkeysclaim", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
        ]

    async def query(self, call: Call) -> object:
        """The keys of users' devices."""
        existing = await self._users.existing(call.body(_Query).device_keys)
        return {"device_keys": {user_id: {} for user_id in existing}, "master_keys": {}, "self_signing_keys": {}}

    async def claim(self, call: Call) -> object:
        """One-time keys."""
        call.body(_Claim)
        return {"one_time_keys": {}}
