"""Upgrading a room to another version: a new room takes its place.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.core.content import room_type
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from matrixd.queries.authentication import Requester
from matrixd.services.create_room import unsupported_version
from matrixd.services.joining import Moved
from matrixd.services.limits import Limit
from matrixd.services.member_profiles import MemberProfiles
from matrixd.services.new_room import StateEvent, additional_creators
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom
from matrixd.services.room_lanes import Draft, RoomLanes
from matrixd.services.suspension import refuse_suspended
from matrixd.services.upgraded_state import (
    closed_power_levels,
    join_rules_for,
    power_levels_for,
)
from matrixd.storage import events, room_aliases, room_members, room_state, rooms
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

TOMBSTONE = "m.room.tombstone"
_POWER_LEVELS = ("m.room.power_levels", "")
_CANONICAL_ALIAS = ("m.room.canonical_alias", "")
#: State that goes over as it is.
_COPIED = (
    "m.room.server_acl", "m.room.encryption", "m.room.name", "m.room.avatar", "m.room.topic", "m.room.guest_access",
    "m.room.history_visibility", "m.room.canonical_alias",
)  # fmt: skip
#: Bans, and children of a space, that go over.
_MAX_COPIED = 2_000


@dataclass(frozen=True, slots=True)
class _Many:
    """State of which a room may have much."""

    bans: Sequence[Event]
    children: Sequence[Event]


class RoomUpgrades:
    """Replaces rooms. Both rooms change in one transaction, and the aliases with them."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        lanes: RoomLanes,
        profiles: MemberProfiles,
        per_user: Limit,
        new_room_id: Callable[[], str],
        moved: Moved,
    ) -> None:
        self._database = database
        self._heads = heads
        self._lanes = lanes
        self._profiles = profiles
        self._per_user = per_user
        self._new_room_id = new_room_id
        self._moved = moved

    async def upgrade(self, requester: Requester, room_id: str, version: str, creators: Sequence[str]) -> str:
        """Upgrade a room; the ID of the one that takes its place. `creators` are further creators of the new room.

        Raises M_UNSUPPORTED_ROOM_VERSION, M_NOT_FOUND for an unknown room, M_FORBIDDEN for those who may not send a
        tombstone, M_LIMIT_EXCEEDED.
        """
        refuse_suspended(requester)
        new_version = ROOM_VERSIONS.get(version)
        if new_version is None:
            raise unsupported_version(version)
        if new_version.auth.privileged_creators:
            creators = list(dict.fromkeys(additional_creators(creators, "additional_creators")))
        head = await self._head(requester.user_id, room_id)
        self._per_user.check(requester.user_id)
        many = await self._database.read(_many, room_id, room_type(_create(head)) == "m.space")
        profile = await self._profiles.of(requester.user_id)
        plan = _Plan(requester.user_id, profile, head, new_version, creators, many)
        new_room_id = await self._lanes.replace(
            room_id,
            plan.farewell,
            new_version,
            None if new_version.room_id_is_create_hash else self._new_room_id(),
            plan.beginning,
            lambda tx, new_id: _move_directory(tx, room_id, new_id),
        )
        await self._moved(requester.user_nid, requester.user_id, room_id, new_room_id)
        return new_room_id

    async def _head(self, user_id: str, room_id: str) -> RoomHead:
        keys = [("m.room.member", user_id), *((event_type, "") for event_type in _COPIED)]
        try:
            head = await self._heads.get(room_id, keys)
        except UnknownRoom:
            raise MatrixError(404, "M_NOT_FOUND", f"This server knows no room {room_id}.") from None
        powers = PowerLevels(_create(head), head.state(_POWER_LEVELS))
        if head.membership(user_id) != "join" or not powers.can_send(user_id, TOMBSTONE, is_state=True):
            raise MatrixError(403, "M_FORBIDDEN", "You may not upgrade this room.")
        return head


class _Plan:
    """The events of an upgrade, from what the old room was like when it began."""

    def __init__(
        self,
        user_id: str,
        profile: Mapping[str, str],
        head: RoomHead,
        version: RoomVersion,
        creators: Sequence[str],
        many: _Many,
    ) -> None:
        self._user_id = user_id
        self._profile = profile
        self._room_id = head.room_id
        self._create = _create(head)
        self._state = head.state_map([_POWER_LEVELS, ("m.room.join_rules", ""), *((name, "") for name in _COPIED)])
        self._version = version
        self._creators = [creator for creator in creators if creator != user_id]
        self._many = many

    def farewell(self, new_room_id: str) -> list[Draft]:
        """The old room's last events: what may be left out does not stop the upgrade."""
        content = {"body": "This room has been replaced.", "replacement_room": new_room_id}
        drafts = [Draft(self._user_id, TOMBSTONE, content, state_key="")]
        if _CANONICAL_ALIAS in self._state:
            drafts.append(Draft(self._user_id, _CANONICAL_ALIAS[0], {}, state_key="", is_optional=True))
        closed = closed_power_levels(self._create.version, self._state.get(_POWER_LEVELS))
        drafts.append(Draft(self._user_id, _POWER_LEVELS[0], closed, state_key="", is_optional=True))
        return drafts

    def beginning(self, tombstone_id: str | None) -> list[Draft]:
        """The new room's first events. The power levels come last: before them its creator may do everything."""
        member = {**self._profile, "membership": "join"}
        state = [
            StateEvent("m.room.create", "", self._create_content(tombstone_id)),
            StateEvent("m.room.member", self._user_id, member),
            *(_same(self._state[name, ""]) for name in _COPIED if (name, "") in self._state),
            *(_same(event) for event in (*self._many.children, *self._many.bans)),
        ]
        join_rules = self._state.get(("m.room.join_rules", ""))
        if join_rules is not None:
            state.append(StateEvent("m.room.join_rules", "", join_rules_for(self._version, join_rules)))
        levels = power_levels_for(
            self._version, self._create, self._state.get(_POWER_LEVELS), self._user_id, self._creators
        )
        if levels is not None:
            state.append(StateEvent("m.room.power_levels", "", levels))
        return [Draft(self._user_id, event.type, event.content, state_key=event.state_key) for event in state]

    def _create_content(self, tombstone_id: str | None) -> dict[str, Any]:
        predecessor = {"room_id": self._room_id}
        if tombstone_id is not None:
            predecessor["event_id"] = tombstone_id
        content: dict[str, Any] = {"room_version": self._version.identifier, "predecessor": predecessor}
        for name in ("m.federate", "type"):
            if name in self._create.content:
                content[name] = self._create.content[name]
        if not self._version.auth.creator_is_sender:
            content["creator"] = self._user_id
        if self._version.auth.privileged_creators and self._creators:
            content["additional_creators"] = self._creators
        return content


def _same(event: Event) -> StateEvent:
    return StateEvent(event.type, event.state_key or "", event.content)


def _create(head: RoomHead) -> Event:
    create = head.state(("m.room.create", ""))
    assert create is not None, "every room has been created"
    return create


def _many(tx: Transaction, room_id: str, is_space: bool) -> _Many:
    room_nid = rooms.nid(tx, room_id)
    if room_nid is None:
        return _Many((), ())
    banned = room_members.of_room(tx, room_nid, ("ban",))[:_MAX_COPIED]
    bans = [found.event for found in events.by_nids(tx, [member.event_nid for member in banned]).values()]
    children: list[Event] = []
    if is_space:
        stored = room_state.of_type(tx, room_nid, "m.space.child").values()
        # A child without servers to join it through is one that was taken out.
        children = [found.event for found in stored if found.event.content.get("via")][:_MAX_COPIED]
    return _Many(bans, children)


def _move_directory(tx: Transaction, old_room_id: str, new_room_id: str) -> None:
    old, new = rooms.by_id(tx, old_room_id), rooms.by_id(tx, new_room_id)
    assert old is not None
    assert new is not None
    room_aliases.move(tx, old.room_nid, new.room_nid)
    if old.published:
        rooms.set_published(tx, old.room_nid, False)
        rooms.set_published(tx, new.room_nid, True)
