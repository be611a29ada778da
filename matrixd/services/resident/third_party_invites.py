"""Third-party invites that become invites. https://spec.matrix.org/v1.19/server-server-api/#third-party-invites"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from matrixd.core.auth.plan import third_party_token
from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.core.identifiers import domain_of, is_room_id, is_user_id
from matrixd.net.errors import RemoteError
from matrixd.services.invite_permission import check_invitable
from matrixd.services.membership import member_draft
from matrixd.services.resident.rooms_of_others import RoomsOfOthers
from matrixd.services.room_head import RoomHeads, UnknownRoom
from matrixd.services.room_lanes import Draft, RoomLanes
from matrixd.storage.database import Database

logger = logging.getLogger(__name__)

#: Invites that one notification may be about.
MAX_INVITES = 50


@dataclass(frozen=True, slots=True)
class Bound:
    """A pending invite of somebody whose third-party ID was bound to a user ID."""

    room_id: str
    #: Who sent the m.room.third_party_invite event.
    sender: str
    mxid: str
    #: What the identity server has signed: mxid, token, signatures.
    signed: Mapping[str, Any]


class Inviters(Protocol):
    """Who invites users of other servers."""

    async def invite(self, room_id: str, draft: Draft) -> str: ...


class Exchanges(Protocol):
    """Who asks other servers to invite."""

    async def exchange(self, destination: str, room_id: str, event: Mapping[str, Any]) -> None: ...


class ThirdPartyInvites:
    """Makes invites of them: in our rooms for anybody, in rooms of others for our users."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        lanes: RoomLanes,
        rooms: RoomsOfOthers,
        inviters: Inviters,
        exchanges: Exchanges,
        is_local: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._heads = heads
        self._lanes = lanes
        self._rooms = rooms
        self._inviters = inviters
        self._exchanges = exchanges
        self._is_local = is_local

    async def exchange(self, origin: str, room_id: str, event: Mapping[str, Any]) -> None:
        """Invite a user of `origin`, as the partial event says. Raises MatrixError and RuleViolation."""
        await self._rooms.room(origin, room_id)
        bound = _bound(room_id, event)
        if domain_of(bound.mxid) != origin:
            raise MatrixError(403, "M_FORBIDDEN", f"{bound.mxid} is no user of {origin}.")
        if not self._is_local(bound.sender):
            raise MatrixError(403, "M_FORBIDDEN", f"{bound.sender} is no user of this server.")
        await self._inviters.invite(room_id, await self._draft(bound))

    async def bound(self, invites: list[Bound]) -> None:
        """Invite users of ours whose third-party IDs were bound; one that fails is logged. Raises M_NOT_FOUND."""
        for invite in invites[:MAX_INVITES]:
            if not self._is_local(invite.mxid):
                raise MatrixError(400, "M_INVALID_PARAM", f"{invite.mxid} is no user of this server.")
            await self._database.read(check_invitable, invite.mxid)
            try:
                await self._invite(invite)
            except (MatrixError, RuleViolation, RemoteError) as error:
                logger.warning("%s could not be invited to %s: %s", invite.mxid, invite.room_id, error)

    async def _invite(self, bound: Bound) -> None:
        try:
            is_resident = (await self._heads.get(bound.room_id)).is_resident
        except UnknownRoom:
            is_resident = False
        if is_resident:
            await self._lanes.send(bound.room_id, [await self._draft(bound)])
            return
        content = {"membership": "invite", "third_party_invite": {"display_name": "", "signed": bound.signed}}
        event = {
            "type": "m.room.member", "room_id": bound.room_id, "sender": bound.sender, "state_key": bound.mxid,
            "content": content,
        }
        await self._exchanges.exchange(domain_of(bound.sender), bound.room_id, event)

    async def _draft(self, bound: Bound) -> Draft:
        """The invite, in the name of who sent the third-party invite: that its signature is right, the rules check."""
        token = third_party_token({"third_party_invite": {"signed": bound.signed}})
        key = ("m.room.third_party_invite", token or "")
        promise = (await self._heads.get(bound.room_id, [key])).state(key)
        if token is None or promise is None or promise.sender != bound.sender:
            raise MatrixError(403, "M_FORBIDDEN", "The room has no such third-party invite.")
        name = promise.content.get("display_name")
        invite = {"display_name": name if isinstance(name, str) else "", "signed": bound.signed}
        return member_draft(promise.sender, bound.mxid, {"membership": "invite", "third_party_invite": invite})


def _bound(room_id: str, event: Mapping[str, Any]) -> Bound:
    content = event.get("content")
    invite = content.get("third_party_invite") if isinstance(content, dict) else None
    signed = invite.get("signed") if isinstance(invite, dict) else None
    sender, mxid = event.get("sender"), event.get("state_key")
    for name, is_good in (
        ("type", event.get("type") == "m.room.member"),
        ("room_id", event.get("room_id") == room_id and is_room_id(room_id)),
        ("sender", is_user_id(sender)),
        ("state_key", is_user_id(mxid)),
        ("content.membership", isinstance(content, dict) and content.get("membership") == "invite"),
        ("content.third_party_invite.signed", isinstance(signed, dict) and signed.get("mxid") == mxid),
    ):
        if not is_good:
            raise MatrixError(400, "M_BAD_JSON", f"'{name}' is not what a third-party invite for the room has there.")
    assert isinstance(signed, dict)
    return Bound(room_id, str(sender), str(mxid), signed)
