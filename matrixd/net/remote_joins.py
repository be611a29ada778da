"""Joining rooms of other servers: `joins-v1.yaml` and `joins-v2.yaml`.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.net import answer_fields as fields
from matrixd.net.event_stream import MAX_STATE_BYTES, STATE_S, EventStream, TakePdu
from matrixd.net.federation_client import FederationClient
from matrixd.net.handshakes import V2, Made, make
from matrixd.net.paths import path_of

_MAX_SERVERS = 100_000


@dataclass(frozen=True, slots=True)
class SentJoin:
    """An answer to a join without its events.

    event: the join with the signature of the other server, if it was sent back.
    servers_in_room: those of the other server, if it says; required when members are omitted, but not insisted on, for
    the user has joined by now.
    """

    event: Mapping[str, Any] | None
    members_omitted: bool
    servers_in_room: Sequence[str]


class RemoteJoins:
    """Asks other servers to let users in. Each method raises RemoteError."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def make_join(self, destination: str, room_id: str, user_id: str, versions: Sequence[str]) -> Made:
        """The template of a join; `versions` are the room versions that this server knows.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
        """
        return await make(self._client, "make_join", destination, room_id, user_id, versions)

    async def send_join(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        pdu: Mapping[str, Any],
        take: TakePdu,
        *,
        omit_members: bool = True,
    ) -> SentJoin:
        """Send a signed join. The events of the answer go to `take` while it comes; what that raises is raised.

        https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
        """
        stream = EventStream(destination, "state", take)
        await self._client.put(
            destination,
            path_of(f"{V2}/send_join/{{}}/{{}}", room_id, event_id),
            pdu,
            [("omit_members", "true")] if omit_members else (),
            timeout_s=STATE_S,
            max_bytes=MAX_STATE_BYTES,
            consume=stream.consume,
        )
        rest = await stream.finish()
        return SentJoin(
            fields.mapping(destination, rest, "event") if rest.get("event") is not None else None,
            fields.flag(destination, rest, "members_omitted"),
            fields.strings(destination, rest, "servers_in_room", _MAX_SERVERS, required=False),
        )
