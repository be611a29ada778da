"""What a user has set for a room follows the user to the room that replaces it, and so do the room's names here.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.push.rules import PushRule, RuleKind
from matrixd.core.push.ruleset import Ruleset
from matrixd.storage import account_data, push_rules, room_aliases, room_members, room_state, rooms
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

DIRECT = "m.direct"
_ROOM_DATA = ("m.tag",)
_TOMBSTONE = ("m.room.tombstone", "")


class MovedSettings:
    """Copies tags, push rules, and whether a room is a direct chat; moves aliases and the place in the directory."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def copy(self, user_nid: int, user_id: str, old_room_id: str, new_room_id: str) -> None:
        """Copy what the user has set for the old room, if the user was ever in it.

        The first one who follows takes along what this server has published of a room that was upgraded elsewhere.
        """
        await self._database.write(_copy, user_nid, old_room_id, new_room_id)


def _copy(tx: Transaction, user_nid: int, old_room_id: str, new_room_id: str) -> None:
    old_nid, new_nid = rooms.nid(tx, old_room_id), rooms.nid(tx, new_room_id)
    if old_nid is None or new_nid is None or room_members.one(tx, old_nid, user_nid) is None:
        return
    _move_names(tx, old_nid, new_nid, new_room_id)
    account_data.copy_room(tx, old_nid, new_nid, user_nid, _ROOM_DATA)
    direct = account_data.get(tx, user_nid, account_data.GLOBAL, DIRECT) or {}
    new_direct = {key: _with(value, old_room_id, new_room_id) for key, value in direct.items()}
    if new_direct != direct:
        account_data.put(tx, user_nid, account_data.GLOBAL, DIRECT, new_direct)
    stored = push_rules.get(tx, user_nid)
    ruleset = Ruleset.from_stored(stored)
    moved = _move_rules(ruleset, old_room_id, new_room_id)
    if moved != ruleset:
        push_rules.put(tx, user_nid, moved.to_stored())


def _move_names(tx: Transaction, old_nid: int, new_nid: int, new_room_id: str) -> None:
    tombstone = room_state.of_keys(tx, old_nid, [_TOMBSTONE]).get(_TOMBSTONE)
    if tombstone is None or tombstone.event.content.get("replacement_room") != new_room_id:
        # Any room may say that it replaces another.
        return
    room_aliases.move(tx, old_nid, new_nid)
    if rooms.by_nids(tx, [old_nid])[old_nid].published:
        rooms.set_published(tx, old_nid, False)
        rooms.set_published(tx, new_nid, True)


def _with(room_ids: Any, old_room_id: str, new_room_id: str) -> Any:
    """A list of direct chats, with the new room where the old one is in it."""
    if isinstance(room_ids, list) and old_room_id in room_ids and new_room_id not in room_ids:
        return [*room_ids, new_room_id]
    return room_ids


def _move_rules(ruleset: Ruleset, old_room_id: str, new_room_id: str) -> Ruleset:
    for kind in (RuleKind.ROOM, RuleKind.OVERRIDE):
        for rule in ruleset.custom.get(kind, ()):
            if rule.rule_id == old_room_id:
                try:
                    ruleset = ruleset.put(kind, _for_room(rule, old_room_id, new_room_id))
                except MatrixError:
                    # The user has as many rules as one can have: the old room's rule is not worth another.
                    return ruleset
    return ruleset


def _for_room(rule: PushRule, old_room_id: str, new_room_id: str) -> PushRule:
    conditions = rule.conditions
    if conditions is not None:
        conditions = tuple(_condition(condition, old_room_id, new_room_id) for condition in conditions)
    return replace(rule, rule_id=new_room_id, conditions=conditions)


def _condition(condition: Mapping[str, Any], old_room_id: str, new_room_id: str) -> Mapping[str, Any]:
    is_about_room = condition.get("key") == "room_id" and condition.get("pattern") == old_room_id
    return {**condition, "pattern": new_room_id} if is_about_room else condition
