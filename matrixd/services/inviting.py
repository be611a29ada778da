"""Inviting users. https://spec.matrix.org/v1.19/client-server-api/#inviting-users"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_user_id
from matrixd.queries.authentication import Requester
from matrixd.services import member_profiles
from matrixd.services.invite_permission import check_invitable
from matrixd.services.limits import Limit
from matrixd.services.membership import member_draft, send_member
from matrixd.services.remote_inviting import RemoteInviting
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom
from matrixd.services.room_lanes import RoomLanes
from matrixd.services.suspension import refuse_suspended
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class InviteLimits:
    """The limits of invites; their names say who shares one."""

    per_room: Limit
    per_user: Limit
    per_issuer: Limit


@dataclass(frozen=True, slots=True)
class InviteRules:
    """What the configuration says of invites."""

    #: Only administrators of the server may invite.
    only_by_admins: bool
    #: An invite shows the invited user's name and avatar.
    with_profile: bool


class Inviting:
    """Invites users, of this server and of others."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        lanes: RoomLanes,
        remote: RemoteInviting,
        is_local: Callable[[str], bool],
        limits: InviteLimits,
        rules: InviteRules,
    ) -> None:
        self._database = database
        self._heads = heads
        self._lanes = lanes
        self._remote = remote
        self._is_local = is_local
        self._limits = limits
        self._rules = rules

    async def invite(self, requester: Requester, room_id: str, user_id: str, extra: Mapping[str, Any]) -> str:
        """Invite a user; the ID of the event, or of that by which the user is invited already.

        Raises M_FORBIDDEN, M_INVITE_BLOCKED, M_NOT_FOUND for a user who does not exist, M_LIMIT_EXCEEDED; for a user of
        another server what that says, and 502 M_UNKNOWN if it cannot be asked.
        """
        self._check_may_invite(requester)
        validate_user_id(user_id, "user_id")
        standing = await self._standing_invite(requester.user_id, room_id, user_id)
        if standing is not None:
            return standing
        contents = await self.contents(requester, [user_id], extra, room_id)
        draft = member_draft(requester.user_id, user_id, contents[user_id])
        if self._is_local(user_id):
            return await send_member(self._lanes, room_id, draft)
        return await self._remote.invite(room_id, draft)

    async def invite_from_elsewhere(
        self, inviter: str, room_id: str, contents: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Invite users of other servers, by user ID, with `contents`, to a room that was just made.

        What becomes of them does not undo the room: the log says who could not be invited. Whoever is invited to a
        room should be so before something is said there; but nobody waits long for a server that does not answer.
        """
        drafts = [member_draft(inviter, user_id, content) for user_id, content in contents.items()]
        await self._remote.invite_all(room_id, drafts)

    async def _standing_invite(self, inviter: str, room_id: str, user_id: str) -> str | None:
        mine, theirs = ("m.room.member", inviter), ("m.room.member", user_id)
        try:
            head = await self._heads.get(room_id, [mine, theirs])
        except UnknownRoom:
            raise _not_in(room_id) from None
        self._check_joined(head, inviter)
        event = head.state(theirs)
        return event.event_id if event is not None and event.membership == "invite" else None

    def _check_joined(self, head: RoomHead, inviter: str) -> None:
        if head.membership(inviter) != "join":
            raise _not_in(head.room_id)

    async def contents(
        self, requester: Requester, user_ids: Collection[str], extra: Mapping[str, Any], room_id: str | None
    ) -> dict[str, dict[str, Any]]:
        """The content of the invite of each user, after asking whether they may be invited. `room_id`: None if new.

        Raises M_FORBIDDEN, M_INVITE_BLOCKED, M_NOT_FOUND, M_LIMIT_EXCEEDED.
        """
        self._check_may_invite(requester)
        for user_id in user_ids:
            validate_user_id(user_id, "invite")
        if not user_ids:
            return {}
        local = [user_id for user_id in user_ids if self._is_local(user_id)]
        profiles = await self._database.read(_profiles_of_invitable, local)
        if room_id is not None:
            self._limits.per_room.check(room_id)
        for user_id in user_ids:
            self._limits.per_issuer.check(requester.user_id)
            self._limits.per_user.check(user_id)
        return {
            user_id: {
                **extra, **(profiles.get(user_id, {}) if self._rules.with_profile else {}), "membership": "invite"
            }
            for user_id in user_ids
        }

    def _check_may_invite(self, requester: Requester) -> None:
        refuse_suspended(requester)
        if self._rules.only_by_admins and not requester.is_admin:
            raise MatrixError(403, "M_FORBIDDEN", "On this server only administrators may invite.")


def _profiles_of_invitable(tx: Transaction, user_ids: Collection[str]) -> dict[str, member_profiles.Shown]:
    return {user_id: _invitable(tx, user_id) for user_id in user_ids}


def _invitable(tx: Transaction, user_id: str) -> member_profiles.Shown:
    check_invitable(tx, user_id)
    return member_profiles.read(tx, user_id)


def _not_in(room_id: str) -> MatrixError:
    return MatrixError(403, "M_FORBIDDEN", f"You are not in {room_id}.")


def refuse_third_party(id_server: object, medium: object, address: object) -> None:
    """Refuse an invite by e-mail address or telephone number, which needs an identity server.

    Raises M_MISSING_PARAM naming a field that is not there, else M_THREEPID_DENIED.
    """
    for name, value in (("id_server", id_server), ("medium", medium), ("address", address)):
        if not isinstance(value, str):
            raise MatrixError(400, "M_MISSING_PARAM", f"'{name}' is missing or no string.")
    raise MatrixError(
        403, "M_THREEPID_DENIED", "This server asks no identity server: invite people by their user ID."
    )
