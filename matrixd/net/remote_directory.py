"""What other servers publish of rooms: `query.yaml` (aliases), `public_rooms.yaml` and `space_hierarchy.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from matrixd.core.identifiers import is_room_id, is_server_name
from matrixd.net import answer_fields as fields
from matrixd.net.federation_client import FederationClient
from matrixd.net.handshakes import V1
from matrixd.net.paths import path_of

_QUERY_S = 20.0
_MAX_SERVERS = 100_000
#: Servers of an alias that are remembered as possible helpers.
_USED_SERVERS = 1_000
_MAX_ROOMS = 10_000
_MAX_TOKEN = 10_000


@dataclass(frozen=True, slots=True)
class AliasOf:
    """The room of an alias, and servers that are said to be in it, the best first."""

    room_id: str
    servers: Sequence[str]


class _Room(msgspec.Struct):
    """definitions/public_rooms_chunk.yaml"""

    room_id: str
    num_joined_members: int
    world_readable: bool
    guest_can_join: bool
    canonical_alias: str | None = None
    name: str | None = None
    topic: str | None = None
    avatar_url: str | None = None
    join_rule: str | None = None
    room_type: str | None = None


class _PublicRooms(msgspec.Struct):
    """definitions/public_rooms_response.yaml"""

    chunk: list[_Room]
    next_batch: str | None = None
    prev_batch: str | None = None
    total_room_count_estimate: int | None = None


class RemoteDirectory:
    """Asks other servers for rooms. Each method raises RemoteError."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def alias(self, destination: str, room_alias: str) -> AliasOf:
        """The room of an alias; RemoteError with M_NOT_FOUND if there is none.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
        """
        query = [("room_alias", room_alias)]
        answer = await self._client.get(destination, f"{V1}/query/directory", query, timeout_s=_QUERY_S)
        room_id = fields.whole(destination, answer).get("room_id")
        if not is_room_id(room_id):
            raise fields.bad_answer(destination, "'room_id' must be a room ID")
        servers = fields.strings(destination, answer, "servers", _MAX_SERVERS)
        return AliasOf(str(room_id), [server for server in servers if is_server_name(server)][:_USED_SERVERS])

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
        """A page of the published rooms, as the specification shapes it; `search` is the `filter` of the POST form.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms
        """
        options: dict[str, Any] = {"include_all_networks": True} if include_all_networks else {}
        given = {"limit": limit, "since": since, "third_party_instance_id": third_party_instance_id}
        options.update({name: value for name, value in given.items() if value is not None})
        path = f"{V1}/publicRooms"
        if search:
            answer = await self._client.post(destination, path, {**options, "filter": search}, timeout_s=_QUERY_S)
        else:
            query = [(name, "true" if value is True else str(value)) for name, value in options.items()]
            answer = await self._client.get(destination, path, query, timeout_s=_QUERY_S)
        _check_public_rooms(destination, answer)
        return fields.whole(destination, answer)

    async def hierarchy(self, destination: str, room_id: str, *, suggested_only: bool) -> Mapping[str, Any]:
        """A space and its children; only that the answer is an object is checked.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
        """
        query = [("suggested_only", "true" if suggested_only else "false")]
        path = path_of(f"{V1}/hierarchy/{{}}", room_id)
        return fields.whole(destination, await self._client.get(destination, path, query, timeout_s=_QUERY_S))


def _check_public_rooms(destination: str, answer: Any) -> None:
    rooms = fields.shaped(destination, answer, _PublicRooms)
    if len(rooms.chunk) > _MAX_ROOMS:
        raise fields.bad_answer(destination, f"'chunk' has more than {_MAX_ROOMS} entries")
    for name in ("next_batch", "prev_batch"):
        fields.text(destination, answer, name, _MAX_TOKEN, required=False)
    for number, room in enumerate(rooms.chunk):
        if not is_room_id(room.room_id):
            raise fields.bad_answer(destination, f"'chunk[{number}].room_id' must be a room ID")
