"""Joining rooms. https://spec.matrix.org/v1.19/client-server-api/#joining-rooms"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.core.content import guests_may_join, predecessor
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.queries.authentication import Requester
from matrixd.services.limits import Limit
from matrixd.services.member_profiles import FIELDS, MemberProfiles
from matrixd.services.membership import member_draft, send_member
from matrixd.services.remote_joining import RemoteJoining, takes_part
from matrixd.services.restricted_joins import JOIN_RULES, Condition, RestrictedJoins
from matrixd.services.room_head import RoomHead, RoomHeads
from matrixd.services.room_lanes import Draft, RoomLanes
from matrixd.services.suspension import refuse_suspended
from matrixd.storage.engines.base import Unavailable

#: Takes a user's number, a user ID, the ID of a room, and that of the one in its place.
Moved = Callable[[int, str, str, str], Awaitable[None]]

_GUEST_ACCESS = ("m.room.guest_access", "")
#: How often it is looked again whether this server is in a room, when others joined it meanwhile.
_MAX_LOOKS = 5


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
        restricted: RestrictedJoins,
        remote: RemoteJoining,
        allow_per_room_profiles: bool,
        per_user: Limit,
        per_room: Limit,
        moved: Moved,
    ) -> None:
        self._heads = heads
        self._lanes = lanes
        self._profiles = profiles
        self._restricted = restricted
        self._remote = remote
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
        servers: Sequence[str] = (),
    ) -> None:
        """Join a room; for who is in it already, nothing happens. `extra` goes into the member event.

        A room that this server is not in is joined through one that is; `servers` are those that the client names.
        Raises M_NOT_FOUND for a room of which nobody knows, M_FORBIDDEN, M_GUEST_ACCESS_FORBIDDEN, M_LIMIT_EXCEEDED,
        and what other servers say.
        """
        refuse_suspended(requester)
        head = await self._head(requester, room_id, extra, servers)
        if head.membership(requester.user_id) != "join":
            await self._enter(requester, head, extra, third_party, servers)

    async def enter(self, requester: Requester, room_id: str, extra: Mapping[str, Any]) -> str:
        """As `join`, but a member's event is replaced by one with `extra`. The ID of the member event."""
        refuse_suspended(requester)
        head = await self._head(requester, room_id, extra, ())
        if head.membership(requester.user_id) != "join":
            return await self._enter(requester, head, extra, None, ())
        draft = member_draft(requester.user_id, requester.user_id, await self._content(requester, extra))
        return await send_member(self._lanes, room_id, draft)

    async def _head(
        self, requester: Requester, room_id: str, extra: Mapping[str, Any], servers: Sequence[str]
    ) -> RoomHead:
        """The head of a room that this server is in, if need be since now, and through its servers, with the user."""
        user_id = requester.user_id
        keys = [("m.room.member", user_id), _GUEST_ACCESS, JOIN_RULES]
        for _ in range(_MAX_LOOKS):
            head = await self._heads.find(room_id, keys)
            if head is not None and takes_part(head, user_id):
                return head
            if requester.is_guest:
                sentence = "Guests may not join rooms that nobody else of this server is in."
                raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", sentence)
            content = await self._content(requester, extra)
            if await self._remote.join(user_id, room_id, content, servers):
                head = await self._heads.get(room_id, keys)
                await self._tell_moved(requester, head)
                return head
        raise Unavailable("the room is busy")

    async def _enter(
        self,
        requester: Requester,
        head: RoomHead,
        extra: Mapping[str, Any],
        third_party: ThirdPartySigned | None,
        servers: Sequence[str],
    ) -> str:
        user_id = requester.user_id
        self._check_open(requester, head)
        self._per_user.check(user_id)
        self._per_room.check(head.room_id)
        content = await self._content(requester, extra)
        drafts = []
        if third_party is not None and head.membership(user_id) != "invite":
            drafts.append(await self._third_party_invite(user_id, head, third_party))
        elif self._restricted.applies(head, user_id):
            authoriser = await self._authoriser(user_id, head)
            if authoriser is None:
                others = [*servers, *sorted(head.servers, key=lambda server: -head.servers[server])]
                event_id = await self._remote.join_vouched(user_id, head.room_id, content, others)
                await self._tell_moved(requester, head)
                return event_id
            content["join_authorised_via_users_server"] = authoriser

        def check(current: RoomHead) -> None:
            # The room may have been closed to guests while the limits and the profile were looked at.
            self._check_open(requester, current)

        draft = Draft(user_id, "m.room.member", content, state_key=user_id, check=check, reads=(_GUEST_ACCESS,))
        sent = await self._lanes.send(head.room_id, [*drafts, draft])
        await self._tell_moved(requester, head)
        return sent[-1].event_id

    async def _tell_moved(self, requester: Requester, head: RoomHead) -> None:
        before = predecessor(_create(head))
        if before is not None:
            await self._moved(requester.user_nid, requester.user_id, before.room_id, head.room_id)

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

    async def _authoriser(self, user_id: str, head: RoomHead) -> str | None:
        """A user of this server who can let the user into a restricted room; None if only another server might.

        https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
        """
        condition = await self._restricted.condition(head, user_id)
        authoriser = await self._restricted.authoriser(head) if condition is Condition.MET else None
        if authoriser is not None or (head.servers and condition is not Condition.FAILED):
            return authoriser
        if condition is Condition.MET:
            sentence = "Nobody of this server who is in the room may invite, so nobody can let you in."
        else:
            sentence = "You are in none of the rooms and spaces whose members may join this room."
        raise MatrixError(403, "M_FORBIDDEN", sentence)

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
