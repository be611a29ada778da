"""Joining rooms. https://spec.matrix.org/v1.19/client-server-api/#joining-rooms"""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core.content import allowed_rooms, guests_may_join, join_rule, predecessor
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels, creators, level_map
from matrixd.queries.authentication import Requester
from matrixd.services.limits import Limit
from matrixd.services.member_profiles import FIELDS, MemberProfiles
from matrixd.services.membership import member_draft, send_member
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom
from matrixd.services.room_lanes import Draft, RoomLanes
from matrixd.services.suspension import refuse_suspended

#: Takes a user's number, a user ID, the ID of a room, and that of the one in its place.
Moved = Callable[[int, str, str, str], Awaitable[None]]

_GUEST_ACCESS = ("m.room.guest_access", "")
_JOIN_RULES = ("m.room.join_rules", "")
#: How many rooms of a restricted room's conditions are looked at.
_MAX_CONDITIONS = 100


@dataclass(frozen=True, slots=True)
class ThirdPartySigned:
    """What proves that the user was invited by a third-party ID (definitions/third_party_signed.yaml)."""

    sender: str
    mxid: str
    token: str
    signatures: Mapping[str, Mapping[str, str]]


class Joining:
    """Lets users into rooms.

    `moved` is called when a user has joined a room that replaces another.
    """

    def __init__(
        self,
        heads: RoomHeads,
        lanes: RoomLanes,
        profiles: MemberProfiles,
        is_local: Callable[[str], bool],
        allow_per_room_profiles: bool,
        per_user: Limit,
        per_room: Limit,
        moved: Moved,
    ) -> None:
        self._heads = heads
        self._lanes = lanes
        self._profiles = profiles
        self._is_local = is_local
        self._allow_per_room_profiles = allow_per_room_profiles
        self._per_user = per_user
        self._per_room = per_room
        self._moved = moved

    async def join(
        self,
        requester: Requester,
        room_id: str,
        extra: Mapping[str, Any],
        third_party: ThirdPartySigned | None = None,
    ) -> None:
        """Join a room; for who is in it already, nothing happens. `extra` goes into the member event.

        Raises M_NOT_FOUND for a room that this server does not know, M_FORBIDDEN, M_GUEST_ACCESS_FORBIDDEN,
        M_LIMIT_EXCEEDED.
        """
        refuse_suspended(requester)
        head = await self._head(requester, room_id)
        if head.membership(requester.user_id) != "join":
            await self._enter(requester, head, extra, third_party)

    async def enter(self, requester: Requester, room_id: str, extra: Mapping[str, Any]) -> str:
        """As `join`, but a member's event is replaced by one with `extra`. The ID of the member event."""
        refuse_suspended(requester)
        head = await self._head(requester, room_id)
        if head.membership(requester.user_id) != "join":
            return await self._enter(requester, head, extra, None)
        draft = member_draft(requester.user_id, requester.user_id, await self._content(requester, extra))
        return await send_member(self._lanes, room_id, draft)

    async def _head(self, requester: Requester, room_id: str) -> RoomHead:
        try:
            return await self._heads.get(
                room_id, [("m.room.member", requester.user_id), _GUEST_ACCESS, _JOIN_RULES]
            )
        except UnknownRoom:
            sentence = f"This server knows no room {room_id}, and does not yet ask others."
            raise MatrixError(404, "M_NOT_FOUND", sentence) from None

    async def _enter(
        self,
        requester: Requester,
        head: RoomHead,
        extra: Mapping[str, Any],
        third_party: ThirdPartySigned | None,
    ) -> str:
        user_id = requester.user_id
        self._check_open(requester, head)
        self._per_user.check(user_id)
        self._per_room.check(head.room_id)
        content = await self._content(requester, extra)
        drafts = []
        if third_party is not None and head.membership(user_id) != "invite":
            drafts.append(await self._third_party_invite(user_id, head, third_party))
        else:
            content.update(await self._authorisation(user_id, head))

        def check(current: RoomHead) -> None:
            # The room may have been closed to guests while the limits and the profile were looked at.
            self._check_open(requester, current)

        draft = Draft(user_id, "m.room.member", content, state_key=user_id, check=check, reads=(_GUEST_ACCESS,))
        sent = await self._lanes.send(head.room_id, [*drafts, draft])
        before = predecessor(_create(head))
        if before is not None:
            await self._moved(requester.user_nid, user_id, before.room_id, head.room_id)
        return sent[-1].event_id

    def _check_open(self, requester: Requester, head: RoomHead) -> None:
        if head.blocked:
            raise MatrixError(403, "M_FORBIDDEN", "This room is blocked on this server.")
        if head.membership(requester.user_id) == "ban":
            raise MatrixError(403, "M_FORBIDDEN", "You are banned from this room.")
        if requester.is_guest and not guests_may_join(head.state(_GUEST_ACCESS)):
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may not join this room.")

    async def _content(self, requester: Requester, extra: Mapping[str, Any]) -> dict[str, Any]:
        """A member event's content: of the profile, what `extra` does not have."""
        if not self._allow_per_room_profiles:
            extra = {name: value for name, value in extra.items() if name not in FIELDS}
        return {**await self._profiles.of(requester.user_id), **extra, "membership": "join"}

    async def _authorisation(self, user_id: str, head: RoomHead) -> dict[str, str]:
        """What a restricted room wants in the event of somebody who is not invited.

        https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
        """
        rules = head.state(_JOIN_RULES)
        rule = join_rule(rules)
        auth = head.version.auth
        if head.membership(user_id) == "invite" or not (
            (rule == "restricted" and auth.restricted) or (rule == "knock_restricted" and auth.knock_restricted)
        ):
            return {}
        for room_id in allowed_rooms(rules)[:_MAX_CONDITIONS]:
            if await self._is_in(user_id, room_id):
                return {"join_authorised_via_users_server": await self._authoriser(head)}
        raise MatrixError(
            403, "M_FORBIDDEN", "You are in none of the rooms and spaces whose members may join this room."
        )

    async def _is_in(self, user_id: str, room_id: str) -> bool:
        try:
            head = await self._heads.get(room_id, [("m.room.member", user_id)])
        except UnknownRoom:
            return False
        return head.membership(user_id) == "join"

    async def _authoriser(self, head: RoomHead) -> str:
        """A user of this server who is in the room and may invite."""
        local = await self._heads.local_joined(head)
        power_levels = head.state(("m.room.power_levels", ""))
        powers = PowerLevels(_create(head), power_levels)
        # Those who are named come first: they are few, and likely to have the level.
        users = power_levels.content.get("users") if power_levels is not None else None
        named = sorted(creators(powers.create) | level_map(head.version.power_level_format, users).keys())
        for user_id in itertools.chain(named, local):
            if user_id in local and self._is_local(user_id) and powers.can_invite(user_id):
                return user_id
        raise MatrixError(
            403, "M_FORBIDDEN", "Nobody of this server who is in the room may invite, so nobody can let you in."
        )

    async def _third_party_invite(self, user_id: str, head: RoomHead, signed: ThirdPartySigned) -> Draft:
        """The invite of the user by whoever invited the third-party ID.

        https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
        """
        if signed.mxid != user_id:
            raise MatrixError(403, "M_FORBIDDEN", "'third_party_signed' is about another user.")
        key = ("m.room.third_party_invite", signed.token)
        promise = (await self._heads.get(head.room_id, [key])).state(key)
        if promise is None or promise.sender != signed.sender:
            raise MatrixError(403, "M_FORBIDDEN", "The room has no such third-party invite.")
        if not self._is_local(promise.sender):
            sentence = "The invite is of a user of another server, and this server does not yet ask others."
            raise MatrixError(403, "M_FORBIDDEN", sentence)
        display_name = promise.content.get("display_name")
        invite = {
            "display_name": display_name if isinstance(display_name, str) else "",
            "signed": {"mxid": signed.mxid, "token": signed.token, "signatures": signed.signatures},
        }
        content = {**await self._profiles.of(user_id), "membership": "invite", "third_party_invite": invite}
        return member_draft(promise.sender, user_id, content)


def _create(head: RoomHead) -> Event:
    create = head.state(("m.room.create", ""))
    assert create is not None, "every room has been created"
    return create
