"""Rooms that let in who is in certain other rooms. https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms"""

import enum
import itertools
from collections.abc import Callable

from matrixd.core.content import allowed_rooms, join_rule
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels, creators, level_map
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom

JOIN_RULES = ("m.room.join_rules", "")
#: How many rooms of a restricted room's conditions are looked at.
_MAX_CONDITIONS = 100


class Condition(enum.Enum):
    """Whether a user may enter by one of the conditions."""

    MET = "met"
    FAILED = "failed"
    #: None of the rooms that it is about is known here.
    UNKNOWN = "unknown"


class RestrictedJoins:
    """Looks at conditions, and finds who may let a user in."""

    def __init__(self, heads: RoomHeads, is_local: Callable[[str], bool]) -> None:
        self._heads = heads
        self._is_local = is_local

    def applies(self, head: RoomHead, user_id: str) -> bool:
        """Whether a user needs somebody to vouch for them. The head has the join rules and the user's membership."""
        rule, auth = join_rule(head.state(JOIN_RULES)), head.version.auth
        is_restricted = (rule == "restricted" and auth.restricted) or (
            rule == "knock_restricted" and auth.knock_restricted
        )
        return is_restricted and head.membership(user_id) not in ("invite", "join")

    async def condition(self, head: RoomHead, user_id: str) -> Condition:
        """Whether a user is in one of the rooms whose members may enter."""
        is_known = False
        room_ids = allowed_rooms(head.state(JOIN_RULES))[:_MAX_CONDITIONS]
        for room_id in room_ids:
            try:
                other = await self._heads.get(room_id, [("m.room.member", user_id)])
            except UnknownRoom:
                continue
            is_known = is_known or other.is_resident
            if other.is_resident and other.membership(user_id) == "join":
                return Condition.MET
        return Condition.FAILED if is_known or not room_ids else Condition.UNKNOWN

    async def authoriser(self, head: RoomHead) -> str | None:
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
        return None


def _create(head: RoomHead) -> Event:
    create = head.state(("m.room.create", ""))
    assert create is not None, "every room has been created"
    return create
