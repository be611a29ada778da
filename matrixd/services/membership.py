"""Changing who is in a room, in the one way in which all endpoints do it.

Each kind of change is in a file of its own (`joining`, `inviting`, `leaving`, `removing`, `knocking`); here is what
they share, and the way in for an `m.room.member` event that a client writes itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from matrixd.core.content import MEMBERSHIPS
from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_user_id
from matrixd.queries.authentication import Requester
from matrixd.services.room_head import RoomHead
from matrixd.services.room_lanes import Draft, RoomLanes

#: What the server alone says in a member event.
_SERVERS_OWN = ("membership", "join_authorised_via_users_server", "third_party_invite", "third_party_signed")


def member_draft(
    sender: str,
    target: str,
    content: Mapping[str, Any],
    check: Callable[[RoomHead], None] | None = None,
    origin_server_ts: int | None = None,
) -> Draft:
    """An m.room.member event."""
    return Draft(
        sender, "m.room.member", content, state_key=target, check=check, origin_server_ts=origin_server_ts
    )


async def send_member(lanes: RoomLanes, room_id: str, draft: Draft) -> str:
    """Send one member event; its event ID, or that of the event which says the same already."""
    return (await lanes.send(room_id, [draft]))[0].event_id


def checked_extra(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a client wants in a member event beside the membership. Raises M_BAD_JSON, naming the field."""
    extra = {name: value for name, value in content.items() if name not in _SERVERS_OWN}
    for name in ("displayname", "avatar_url", "reason"):
        value = extra.get(name)
        if value is None:
            extra.pop(name, None)
        elif not isinstance(value, str):
            raise MatrixError(400, "M_BAD_JSON", f"'{name}' must be a string.")
    if not isinstance(extra.get("is_direct", False), bool):
        raise MatrixError(400, "M_BAD_JSON", "'is_direct' must be a boolean.")
    return extra


class _Joining(Protocol):
    async def enter(self, requester: Requester, room_id: str, extra: Mapping[str, Any]) -> str: ...


class _Inviting(Protocol):
    async def invite(self, requester: Requester, room_id: str, user_id: str, extra: Mapping[str, Any]) -> str: ...


class _Leaving(Protocol):
    async def leave(self, user_id: str, room_id: str, extra: Mapping[str, Any]) -> str: ...


class _Removing(Protocol):
    async def remove(self, requester: Requester, room_id: str, user_id: str, extra: Mapping[str, Any]) -> str: ...
    async def ban(self, requester: Requester, room_id: str, user_id: str, extra: Mapping[str, Any]) -> str: ...


class _Knocking(Protocol):
    async def knock(self, requester: Requester, room_id: str, extra: Mapping[str, Any]) -> str: ...


class MembershipChanges:
    """Takes an m.room.member event that a client has written to the operation that it means."""

    def __init__(
        self, joining: _Joining, inviting: _Inviting, leaving: _Leaving, removing: _Removing, knocking: _Knocking
    ) -> None:
        self._joining = joining
        self._inviting = inviting
        self._leaving = leaving
        self._removing = removing
        self._knocking = knocking

    async def put(self, requester: Requester, room_id: str, target: str, content: Mapping[str, Any]) -> str:
        """Do what the event says; the ID of the event that says it then. Raises as the endpoint of its own would."""
        validate_user_id(target, "stateKey")
        membership = content.get("membership")
        if not isinstance(membership, str) or membership not in MEMBERSHIPS:
            raise MatrixError(
                400, "M_BAD_JSON", f"'membership' must be one of {', '.join(sorted(MEMBERSHIPS))}."
            )
        extra = checked_extra(content)
        is_own = target == requester.user_id
        if membership in ("join", "knock") and not is_own:
            raise MatrixError(403, "M_FORBIDDEN", f"Nobody can {membership} for somebody else.")
        if membership == "join":
            return await self._joining.enter(requester, room_id, extra)
        if membership == "knock":
            return await self._knocking.knock(requester, room_id, extra)
        if membership == "invite":
            return await self._inviting.invite(requester, room_id, target, extra)
        if membership == "ban":
            return await self._removing.ban(requester, room_id, target, extra)
        if is_own:
            return await self._leaving.leave(requester.user_id, room_id, extra)
        return await self._removing.remove(requester, room_id, target, extra)
