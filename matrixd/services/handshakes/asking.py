"""Asking other servers for memberships: the requests of `peers`, by the federation client."""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.net import answer_fields as fields
from matrixd.net.federation_client import FederationClient
from matrixd.net.paths import path_of
from matrixd.services.handshakes.peers import Made, SentJoin, TakePdu

_V1, _V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
#: How long a server may take to let a user in, with the room's state, in seconds.
_JOIN_S = 300.0
#: The largest answer with the state of a room, in bytes.
_MAX_STATE_BYTES = 512 * 1024 * 1024
_MAX_EVENTS = 2_000_000
_MAX_STRIPPED = 1_000
_MAX_SERVERS = 100_000
#: For requests that somebody waits for although another server may be asked, in seconds.
_TEMPLATE_S = 20.0
_SEND_S = 40.0


class FederationPeers:
    """The other servers. All methods raise RemoteError."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def make_join(self, destination: str, room_id: str, user_id: str, versions: Sequence[str]) -> Made:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid"""
        return await self._make("make_join", destination, room_id, user_id, versions)

    async def make_leave(self, destination: str, room_id: str, user_id: str) -> Made:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid"""
        return await self._make("make_leave", destination, room_id, user_id, ())

    async def make_knock(self, destination: str, room_id: str, user_id: str, versions: Sequence[str]) -> Made:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid"""
        return await self._make("make_knock", destination, room_id, user_id, versions)

    async def _make(
        self, what: str, destination: str, room_id: str, user_id: str, versions: Sequence[str]
    ) -> Made:
        path = path_of(f"{_V1}/{what}/{{}}/{{}}", room_id, user_id)
        query = [("ver", version) for version in versions]
        answer = await self._client.get(destination, path, query, timeout_s=_TEMPLATE_S)
        version = fields.whole(destination, answer).get("room_version")
        if not isinstance(version, str | None):
            raise fields.bad_answer(destination, "'room_version' must be a string")
        return Made(version, fields.mapping(destination, answer, "event"))

    async def send_join(
        self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any], take: TakePdu
    ) -> SentJoin:
        """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid"""
        answer = await self._client.put(
            destination, path_of(f"{_V2}/send_join/{{}}/{{}}", room_id, event_id), pdu, [("omit_members", "true")],
            timeout_s=_JOIN_S, max_bytes=_MAX_STATE_BYTES,
        )
        await _give(fields.objects(destination, answer, "auth_chain", _MAX_EVENTS), take, in_state=False)
        await _give(fields.objects(destination, answer, "state", _MAX_EVENTS), take, in_state=True)
        event = answer.get("event")
        servers = fields.strings(destination, answer, "servers_in_room", _MAX_SERVERS, required=False)
        return SentJoin(event if isinstance(event, dict) else None, answer.get("members_omitted") is True, servers)

    async def state(self, destination: str, room_id: str, event_id: str, take: TakePdu) -> None:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid"""
        answer = await self._client.get(
            destination, path_of(f"{_V1}/state/{{}}", room_id), [("event_id", event_id)], timeout_s=_JOIN_S,
            max_bytes=_MAX_STATE_BYTES,
        )
        await _give(fields.objects(destination, answer, "auth_chain", _MAX_EVENTS), take, in_state=False)
        await _give(fields.objects(destination, answer, "pdus", _MAX_EVENTS), take, in_state=True)

    async def send_leave(self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> None:
        """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid"""
        await self._client.put(
            destination, path_of(f"{_V2}/send_leave/{{}}/{{}}", room_id, event_id), pdu, timeout_s=_SEND_S
        )

    async def send_knock(
        self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid"""
        answer = await self._client.put(
            destination, path_of(f"{_V1}/send_knock/{{}}/{{}}", room_id, event_id), pdu, timeout_s=_SEND_S
        )
        return fields.objects(destination, answer, "knock_room_state", _MAX_STRIPPED, required=False)

    async def invite(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        room_version: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid"""
        content = {"room_version": room_version, "event": pdu, "invite_room_state": list(room_state)}
        answer = await self._client.put(
            destination, path_of(f"{_V2}/invite/{{}}/{{}}", room_id, event_id), content, timeout_s=_SEND_S
        )
        return fields.mapping(destination, answer, "event")

    async def invite_v1(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid"""
        content = {**pdu, "unsigned": {"invite_room_state": list(room_state)}}
        answer = await self._client.put(
            destination, path_of(f"{_V1}/invite/{{}}/{{}}", room_id, event_id), content, timeout_s=_SEND_S
        )
        if not isinstance(answer, list) or len(answer) != 2:
            raise fields.bad_answer(destination, "the answer must be 200 and an object")
        return fields.mapping(destination, answer[1], "event")


async def _give(pdus: Sequence[Mapping[str, Any]], take: TakePdu, *, in_state: bool) -> None:
    for pdu in pdus:
        waiting = take(in_state, pdu)
        if waiting is not None:
            await waiting
