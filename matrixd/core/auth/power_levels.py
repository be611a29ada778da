"""The rules for ``m.room.power_levels``: nobody gives or takes more power than they have."""

from collections.abc import Mapping
from typing import Final

from matrixd.core.auth.rules import AuthRule, EventForbidden
from matrixd.core.event import Event
from matrixd.core.identifiers import is_user_id
from matrixd.core.power import PowerLevels, is_creator, level_map, level_text, read_level
from matrixd.core.versions import PowerLevelFormat

#: The levels that stand directly in ``content``.
NAMED_LEVELS: Final = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
_MISSING: Final = object()


def check_power_levels(event: Event, powers: PowerLevels) -> None:
    """Rule 10. `powers` are the levels before the event. Raises EventForbidden.

    https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    """
    check_format(event)
    # Rule 10.4: creators have their power from elsewhere, nobody can state another level for them.
    if event.version.auth.privileged_creators:
        _check_no_creator(event, powers.create)
    # Rule 10.5: the first levels of a room can be anything.
    if powers.event is None:
        return
    level = powers.of(event.sender)
    _check_named(event, powers.event, level)
    _check_entries(event, powers.event, "events", level)
    if event.version.auth.notifications_rule:
        _check_entries(event, powers.event, "notifications", level)
    _check_users(event, powers.event, level)


def check_format(event: Event) -> None:
    """Rules 10.1 to 10.3: the levels can be read, as strictly as the room version wants it. Raises EventForbidden.

    https://spec.matrix.org/v1.19/rooms/v10/#values-in-mroompower_levels-events-must-be-integers
    """
    # Rules 10.1 and 10.2 (v10 and later): all levels are integers.
    strict = event.version.auth.validates_all_power_levels
    for name in NAMED_LEVELS:
        value = event.content.get(name, _MISSING)
        if value is not _MISSING:
            _check_value(event, name, value, strict=strict)
    for name in ("events", "notifications"):
        if name in event.content:
            _check_values(event, name, strict=strict)
    # Rule 10.3: users are users, and their levels can be read in every room version.
    if "users" in event.content:
        _check_values(event, "users", strict=True)
        for user_id in event.content["users"]:
            if not is_user_id(user_id):
                raise _malformed(event, f"users holds {user_id!r}, which is not a user ID")


def _check_values(event: Event, name: str, *, strict: bool) -> None:
    values = event.content[name]
    if not isinstance(values, Mapping):
        if strict:
            raise _malformed(event, f"{name} is not an object")
        return
    for key, value in values.items():
        _check_value(event, f"{name}.{key}", value, strict=strict)


def _check_value(event: Event, name: str, value: object, *, strict: bool) -> None:
    form = event.version.power_level_format
    # Where the format does not matter, a number that no double can hold is still refused:
    # https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-floats
    refused = strict or (form is PowerLevelFormat.INTEGER_STRING_FLOAT and type(value) in (int, float))
    if refused and read_level(form, value) is None:
        raise _malformed(event, f"{name} is not a power level")


def _malformed(event: Event, what: str) -> EventForbidden:
    return EventForbidden(AuthRule.POWER_LEVELS_FORMAT, f"m.room.power_levels of {event.sender}: {what}")


def _check_no_creator(event: Event, create: Event) -> None:
    for user_id in event.content.get("users", ()):
        if is_creator(create, user_id):
            raise EventForbidden(
                AuthRule.POWER_LEVELS_NAME_CREATOR, f"users names {user_id}, who created {event.room_id}"
            )


def _check_named(event: Event, current: Event, level: float) -> None:
    # Rule 10.6: a level that is added, changed or removed was not above the sender, and will not be.
    form = event.version.power_level_format
    for name in NAMED_LEVELS:
        old, new = read_level(form, current.content.get(name)), read_level(form, event.content.get(name))
        if old != new:
            _check_reach(event, name, level, old)
            _check_reach(event, name, level, new)


def _check_entries(event: Event, current: Event, name: str, level: float) -> None:
    # Rules 10.7 and 10.8: the same for the levels of event types and notifications.
    for key, old, new in _changes(event, current, name):
        _check_reach(event, f"{name}.{key}", level, old)
        _check_reach(event, f"{name}.{key}", level, new)


def _check_users(event: Event, current: Event, level: float) -> None:
    for user_id, old, new in _changes(event, current, "users"):
        # Rule 10.9: nobody changes the level of an equal; only one's own.
        if old is not None and user_id != event.sender and old >= level:
            raise EventForbidden(
                AuthRule.POWER_LEVELS_OF_EQUAL_USER,
                f"{event.sender} with level {level_text(level)} cannot change the level of {user_id}, which is {old}",
            )
        # Rule 10.10: nobody gives more than they have.
        _check_reach(event, f"users.{user_id}", level, new)


def _changes(event: Event, current: Event, name: str) -> list[tuple[str, int | None, int | None]]:
    """The entries of an object of levels that differ: (key, level before, level after)."""
    form = event.version.power_level_format
    old, new = level_map(form, current.content.get(name)), level_map(form, event.content.get(name))
    return [
        (key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    ]


def _check_reach(event: Event, name: str, level: float, value: int | None) -> None:
    if value is not None and value > level:
        raise EventForbidden(
            AuthRule.POWER_LEVELS_ABOVE_SENDER,
            f"{event.sender} with level {level_text(level)} cannot change {name} from or to {value}",
        )
