"""The directories of other servers: their aliases, published rooms and spaces.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import domain_of, is_server_name
from matrixd.net.errors import RemoteError
from matrixd.net.remote_directory import AliasOf
from matrixd.queries.remote_spaces import room_summary
from matrixd.services.aliases import Located
from matrixd.services.handshakes.servers import candidates
from matrixd.services.remote_failures import told
from matrixd.util.single_flight import SingleFlight

logger = logging.getLogger(__name__)

#: Servers of a room, and rooms of a page, that are taken from an answer.
_MAX_SERVERS = 100
_MAX_ROOMS = 1_000
#: Servers that are asked for one space, one after the other.
_MAX_ASKED = 3
_MAX_TOKEN = 2_000


@dataclass(frozen=True, slots=True)
class Search:
    """What is wanted of a published directory. `room_types` None: rooms of any type; None in it: rooms without one."""

    limit: int
    since: str | None = None
    term: str | None = None
    room_types: Collection[str | None] | None = None
    include_all_networks: bool = False
    third_party_instance_id: str | None = None


class DirectorySource(Protocol):
    """Other servers. All methods raise RemoteError."""

    async def alias(self, destination: str, room_alias: str) -> AliasOf:
        """The room of an alias, and servers that are in it."""

    async def public_rooms(
        self,
        destination: str,
        *,
        limit: int | None = None,
        since: str | None = None,
        search: Mapping[str, Any] | None = None,
        include_all_networks: bool = False,
        third_party_instance_id: str | None = None,
    ) -> Mapping[str, Any]:
        """A page of the published rooms; `search` is the `filter` of the POST form."""

    async def hierarchy(self, destination: str, room_id: str, *, suggested_only: bool) -> Mapping[str, Any]:
        """A room and its children."""


class Directories(Protocol):
    """The published directories of other servers."""

    async def public_rooms(self, server: str, search: Search) -> dict[str, Any]:
        """A page of one. Raises MatrixError."""


class RemoteDirectories:
    """Asks for them. `own_name` is the name of this server."""

    def __init__(self, own_name: str, source: DirectorySource) -> None:
        self._own_name = own_name
        self._source = source
        self._asking: SingleFlight[str, Located] = SingleFlight()

    async def locate(self, alias: str) -> Located:
        """The room of an alias of another server.

        Raises M_NOT_FOUND, M_FORBIDDEN, M_LIMIT_EXCEEDED, and M_UNKNOWN (502, 504) if that server does not help.
        """
        return await self._asking.run(alias, lambda: self._locate(alias))

    async def _locate(self, alias: str) -> Located:
        server = domain_of(alias)
        try:
            answer = await self._source.alias(server, alias)
        except RemoteError as error:
            raise told(error, f"the alias {alias}") from error
        # It may name itself or not; that it knows the alias makes it the best guess there is, if nothing else does.
        return Located(answer.room_id, list(dict.fromkeys([*answer.servers[:_MAX_SERVERS], server])))

    async def public_rooms(self, server: str, search: Search) -> dict[str, Any]:
        """A page of another server's published rooms. Raises as `locate`, and M_INVALID_PARAM for no server name."""
        if not is_server_name(server):
            raise MatrixError(400, "M_INVALID_PARAM", "'server' is not the name of a server.")
        try:
            answer = await self._source.public_rooms(
                server,
                limit=search.limit,
                since=search.since,
                search=_filter(search),
                include_all_networks=search.include_all_networks,
                third_party_instance_id=search.third_party_instance_id,
            )
        except RemoteError as error:
            raise told(error, "its published rooms") from error
        return _page(answer)

    async def hierarchy(
        self, room_id: str, servers: Sequence[str], suggested_only: bool
    ) -> Mapping[str, Any] | None:
        """A space as one of some servers knows it, not looked at; None if none of them tells. Does not raise."""
        for server in candidates(self._own_name, servers)[:_MAX_ASKED]:
            try:
                return await self._source.hierarchy(server, room_id, suggested_only=suggested_only)
            except RemoteError as error:
                logger.info("the space %s: %s", room_id, error)
        return None


def _filter(search: Search) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if search.term:
        wanted["generic_search_term"] = search.term
    if search.room_types is not None:
        wanted["room_types"] = list(search.room_types)
    return wanted


def _page(answer: Mapping[str, Any]) -> dict[str, Any]:
    """definitions/public_rooms_response.yaml, of what can be read."""
    chunk = answer.get("chunk")
    entries = (room_summary(entry) for entry in (chunk[:_MAX_ROOMS] if isinstance(chunk, list) else ()))
    page: dict[str, Any] = {"chunk": [entry for entry in entries if entry is not None]}
    for name in ("next_batch", "prev_batch"):
        token = answer.get(name)
        if isinstance(token, str) and len(token) <= _MAX_TOKEN:
            page[name] = token
    count = answer.get("total_room_count_estimate")
    if type(count) is int and 0 <= count < 2**53:
        page["total_room_count_estimate"] = count
    return page
