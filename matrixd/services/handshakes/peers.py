"""What other servers are asked for when this one is not in a room, as `net` asks for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from matrixd.net.event_stream import TakePdu
from matrixd.net.handshakes import Made
from matrixd.net.remote_joins import SentJoin

__all__ = ["InvitePeers", "JoinPeers", "KnockPeers", "LeavePeers", "Made", "SentJoin", "TakePdu"]


class JoinPeers(Protocol):
    """Other servers, as joining needs them. All raise RemoteError."""

    async def make_join(self, destination: str, room_id: str, user_id: str, versions: Sequence[str]) -> Made:
        """GET /make_join."""

    async def send_join(
        self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any], take: TakePdu
    ) -> SentJoin:
        """PUT /send_join (v2) with `omit_members`."""

    async def state(self, destination: str, room_id: str, event_id: str, take: TakePdu) -> None:
        """GET /state: that before an event."""


class LeavePeers(Protocol):
    """Other servers, as leaving needs them. All raise RemoteError."""

    async def make_leave(self, destination: str, room_id: str, user_id: str) -> Made:
        """GET /make_leave."""

    async def send_leave(self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> None:
        """PUT /send_leave, v2 or v1."""


class KnockPeers(Protocol):
    """Other servers, as knocking needs them. All raise RemoteError."""

    async def make_knock(self, destination: str, room_id: str, user_id: str, versions: Sequence[str]) -> Made:
        """GET /make_knock."""

    async def send_knock(
        self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """PUT /send_knock; the room's `knock_room_state`."""


class InvitePeers(Protocol):
    """Other servers, as inviting their users needs them. All raise RemoteError."""

    async def invite(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        room_version: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """PUT /invite (v2); the event with the other server's signature."""

    async def invite_v1(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """PUT /invite (v1), for rooms of version 1 and 2; the event with the other server's signature."""
