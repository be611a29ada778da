"""What other servers are asked for when this one is not in a room."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred

#: Takes the events of an answer one by one, as they are read: whether it is of the state (else of the auth chain), PDU.
#: If it returns a Deferred, the next should come only when that has fired.
TakePdu = Callable[[bool, Mapping[str, Any]], "Deferred[None] | None"]


@dataclass(frozen=True, slots=True)
class Made:
    """An unsigned event that another server would accept; nothing of it is checked."""

    #: None: the server did not say, and it is "1".
    room_version: str | None
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SentJoin:
    """An answer to a join without its events."""

    #: The join with the signature of the other server, if it was sent back.
    event: Mapping[str, Any] | None
    members_omitted: bool
    servers_in_room: Sequence[str]


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
