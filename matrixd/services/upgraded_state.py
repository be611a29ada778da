"""What becomes of a room's rules when it is upgraded: pure functions.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.core.auth.power_levels import NAMED_LEVELS
from matrixd.core.event import Event
from matrixd.core.power import CREATOR_LEVEL, PowerLevels, level_map, read_level
from matrixd.core.versions import PowerLevelFormat, RoomVersion
from matrixd.services.new_room import ADMIN_LEVEL, tombstone_level

_LEVEL_MAPS = ("events", "users", "notifications")


def closed_power_levels(version: RoomVersion, event: Event | None) -> dict[str, Any]:
    """The levels of a room that is not to be used any more: ordinary users can neither send nor invite."""
    content = {} if event is None else dict(event.content)
    users_default = read_level(version.power_level_format, content.get("users_default")) or 0
    level = max(50, users_default + 1)
    for name in ("events_default", "invite"):
        content[name] = max(level, read_level(version.power_level_format, content.get(name)) or 0)
    return content


def join_rules_for(version: RoomVersion, event: Event) -> dict[str, Any]:
    """The join rules in the new version; a rule that it does not know becomes the next stricter one that it does."""
    content = dict(event.content)
    rule = content.get("join_rule")
    if rule == "knock_restricted" and not version.auth.knock_restricted:
        rule = "restricted"
    if rule == "restricted" and not version.auth.restricted:
        rule = "invite"
    if rule == "knock" and not version.auth.knock:
        rule = "invite"
    if rule != content.get("join_rule"):
        content["join_rule"] = rule
    return content


def power_levels_for(
    version: RoomVersion, create: Event, event: Event | None, upgrader: str, creators: Sequence[str]
) -> dict[str, Any] | None:
    """The levels in the new version; None if the old room has none, and its default levels can stay.

    `create` and `event` are of the old room. `creators` are the new room's creators beside the upgrader.
    """
    if event is None and not create.version.auth.privileged_creators:
        return None
    content = _readable(create.version.power_level_format, version.power_level_format, event)
    users = dict(content.get("users", {}))
    if version.auth.privileged_creators:
        users = {user_id: level for user_id, level in users.items() if user_id not in (upgrader, *creators)}
        content["events"] = _with_tombstone(version, content)
    elif PowerLevels(create, event).of(upgrader) == CREATOR_LEVEL:
        # Above all levels in the old room: as high as the highest in the new one.
        users[upgrader] = max([ADMIN_LEVEL, *users.values(), *content.get("events", {}).values()])
    if users or "users" in content:
        content["users"] = users
    return content


def _with_tombstone(version: RoomVersion, content: Mapping[str, Any]) -> dict[str, Any]:
    state_default = content.get("state_default", 50)
    events = dict(content.get("events", {}))
    if events.get("m.room.tombstone", state_default) <= state_default:
        events["m.room.tombstone"] = tombstone_level(version, state_default)
    return events


def _readable(old: PowerLevelFormat, new: PowerLevelFormat, event: Event | None) -> dict[str, Any]:
    """The old content; where the new version reads less than the old one, levels become integers."""
    content = {} if event is None else dict(event.content)
    if old is not new:
        for name in NAMED_LEVELS:
            level = read_level(old, content.pop(name, None))
            if level is not None:
                content[name] = level
        for name in _LEVEL_MAPS:
            if name in content:
                content[name] = level_map(old, content[name])
    return content
