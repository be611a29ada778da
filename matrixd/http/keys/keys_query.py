"""The keys of other servers, for servers that trust this one: `data/api/server-server/keys_query.yaml`."""

from itertools import islice

import msgspec

from matrixd.core.identifiers import is_server_name, is_signing_key_id, validate_server_name
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.net.key_ring import ALL_KEYS
from matrixd.services.notary import Notary

#: Of so many servers one answer tells, and of each it looks for so many keys. Who wants more asks again.
MAX_SERVERS = 250
_MAX_KEYS = 50
_MAX_BODY = 1024 * 1024

#: The limiter of the queries of one client address.
LIMIT = "key_query"


class Criteria(msgspec.Struct):
    """What is wanted of a key."""

    minimum_valid_until_ts: int | None = None


class KeyQuery(msgspec.Struct):
    """The body of `POST /query`: server name -> key ID -> criteria."""

    server_keys: dict[str, dict[str, Criteria]]


class KeysQuery:
    """`GET /query/{serverName}` and `POST /query`."""

    def __init__(self, notary: Notary) -> None:
        self._notary = notary

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/key/v2/query/{serverName}", self.get,
                spec="get_matrixkeyv2queryservername", auth=Auth.NONE, limit=LIMIT,
            ),
            Route(
                "POST", "/_matrix/key/v2/query", self.post,
                spec="post_matrixkeyv2query", auth=Auth.NONE, limit=LIMIT, max_body=_MAX_BODY,
            ),
        ]  # fmt: skip

    async def get(self, call: Call) -> object:
        """The keys of one server."""
        server_name = validate_server_name(call.path("serverName"), "serverName")
        is_given = call.query("minimum_valid_until_ts") is not None
        return await self._answer({
            server_name: {ALL_KEYS: call.query_int("minimum_valid_until_ts", 0) if is_given else None}
        })

    async def post(self, call: Call) -> object:
        """The keys of several servers."""
        query = call.body(KeyQuery)
        named = ((name, key_ids) for name, key_ids in query.server_keys.items() if is_server_name(name))
        return await self._answer({
            server_name: {
                key_id: criteria.minimum_valid_until_ts
                for key_id, criteria in islice(key_ids.items(), _MAX_KEYS)
                if is_signing_key_id(key_id)
            }
            for server_name, key_ids in islice(named, MAX_SERVERS)
        })

    async def _answer(self, wanted: dict[str, dict[str, int | None]]) -> bytes:
        return b'{"server_keys":[' + b",".join(await self._notary.answers(wanted)) + b"]}"
