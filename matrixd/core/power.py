"""Power levels: who has which level in a room, and which level an act needs.

https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels

Values are read from the event's content at the moment of the question: a question costs a few dictionary look-ups,
so there is nothing to parse beforehand and no cache to bound, however many users the event names.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from matrixd.core.event import Event
from matrixd.core.versions import PowerLevelFormat

#: The level of a creator where creators are privileged: above every integer.
#: https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
CREATOR_LEVEL: Final = math.inf

_LEVEL_BEFORE_POWER_LEVELS: Final = 100
_DEFAULT_NOTIFICATION_LEVEL: Final = 50
_MAX_DIGITS: Final = sys.float_info.max_10_exp + 1


def read_level(form: PowerLevelFormat, value: object) -> int | None:
    """The integer that a JSON value stands for, None when it stands for none in this format.

    Strings: base 10, one sign, leading zeroes and surrounding whitespace are allowed. Floats are cut at the decimal
    point. What a double cannot hold is no level.
    https://spec.matrix.org/v1.19/rooms/v1/#deprecated-event-content-schemas
    """
    if type(value) is int:
        return value if form is PowerLevelFormat.INTEGER or abs(value) <= sys.float_info.max else None
    if type(value) is str and form is not PowerLevelFormat.INTEGER:
        return _integer_from_text(value)
    if type(value) is float and form is PowerLevelFormat.INTEGER_STRING_FLOAT and math.isfinite(value):
        return int(value)
    return None


def _integer_from_text(text: str) -> int | None:
    text = text.strip()
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    digits = digits.lstrip("0")
    # Bounded before the conversion, whose cost grows with the square of the length.
    if len(digits) > _MAX_DIGITS:
        return None
    level = int(digits or "0")
    if level > sys.float_info.max:
        return None
    return -level if text[0] == "-" else level


def level_map(form: PowerLevelFormat, value: object) -> dict[str, int]:
    """The readable entries of ``users``, ``events`` or ``notifications``; empty for anything but an object."""
    if not isinstance(value, Mapping):
        return {}
    levels = ((key, read_level(form, entry)) for key, entry in value.items())
    return {key: level for key, level in levels if level is not None}


def is_creator(create: Event, user_id: str) -> bool:
    """Whether the user created the room, in the sense of the room's version.

    v1 to v10: ``content.creator``. v11: the sender of ``m.room.create``. v12: the sender or one of
    ``additional_creators``. https://spec.matrix.org/v1.19/rooms/v12/#event-format
    """
    rules = create.version.auth
    if not rules.creator_is_sender:
        return bool(create.content.get("creator") == user_id)
    if create.sender == user_id:
        return True
    if not rules.privileged_creators:
        return False
    additional = create.content.get("additional_creators")
    return isinstance(additional, list) and user_id in additional


def creators(create: Event) -> frozenset[str]:
    """Every creator of the room. https://spec.matrix.org/v1.19/rooms/v12/#event-format"""
    rules = create.version.auth
    if not rules.creator_is_sender:
        creator = create.content.get("creator")
        return frozenset({creator}) if isinstance(creator, str) else frozenset()
    additional = create.content.get("additional_creators") if rules.privileged_creators else None
    named = additional if isinstance(additional, list) else []
    return frozenset({create.sender, *(user_id for user_id in named if isinstance(user_id, str))})


def level_text(level: float) -> str:
    """A level as it stands in a sentence."""
    return "infinite" if level == CREATOR_LEVEL else str(int(level))


@dataclass(frozen=True, slots=True, eq=False)
class PowerLevels:
    """The levels in a room, given its ``m.room.create`` and its ``m.room.power_levels`` event, if any.

    Levels are integers, or CREATOR_LEVEL. A value that cannot be read counts as missing, so its default applies.
    """

    create: Event
    event: Event | None

    @classmethod
    def in_state(cls, state: Mapping[tuple[str, str], Event]) -> "PowerLevels":
        """The levels in a state. Raises KeyError when the state has no ``m.room.create``."""
        return cls(state["m.room.create", ""], state.get(("m.room.power_levels", "")))

    @property
    def invite(self) -> int:
        """The level needed to invite."""
        return self._named("invite", 0)

    @property
    def kick(self) -> int:
        """The level needed to kick (and, with the ban level, to unban)."""
        return self._named("kick", 50)

    @property
    def ban(self) -> int:
        """The level needed to ban."""
        return self._named("ban", 50)

    @property
    def redact(self) -> int:
        """The level needed to redact what users of other servers sent."""
        return self._named("redact", 50)

    def of(self, user_id: str) -> float:
        """The user's level: an integer, or CREATOR_LEVEL."""
        privileged = self.create.version.auth.privileged_creators
        if privileged and is_creator(self.create, user_id):
            return CREATOR_LEVEL
        if self.event is None:
            return _LEVEL_BEFORE_POWER_LEVELS if not privileged and is_creator(self.create, user_id) else 0
        level = self._entry("users", user_id)
        return self._named("users_default", 0) if level is None else level

    def to_send(self, event_type: str, *, is_state: bool) -> int:
        """The *required power level* of an event type.

        Not asked for ``m.room.member`` and ``m.room.third_party_invite``: the named levels govern these.
        https://spec.matrix.org/v1.19/server-server-api/#definitions
        """
        level = self._entry("events", event_type)
        if level is not None:
            return level
        return self._named("state_default", 50) if is_state else self._named("events_default", 0)

    def to_notify(self, kind: str) -> int:
        """The level needed for a notification of a kind: ``room`` is ``@room``."""
        level = self._entry("notifications", kind)
        return _DEFAULT_NOTIFICATION_LEVEL if level is None else level

    def can_send(self, user_id: str, event_type: str, *, is_state: bool) -> bool:
        """Whether the user's level suffices for the event type; membership is not asked."""
        return self.of(user_id) >= self.to_send(event_type, is_state=is_state)

    def can_invite(self, user_id: str) -> bool:
        """Whether the user's level suffices to invite."""
        return self.of(user_id) >= self.invite

    def can_kick(self, user_id: str, target: str) -> bool:
        """Whether the user's level suffices to kick the target (not to unban: that needs the ban level as well)."""
        level = self.of(user_id)
        return level >= self.kick and level > self.of(target)

    def can_ban(self, user_id: str, target: str) -> bool:
        """Whether the user's level suffices to ban the target."""
        level = self.of(user_id)
        return level >= self.ban and level > self.of(target)

    def can_notify(self, user_id: str, kind: str) -> bool:
        """Whether the user's level suffices for a notification of a kind (``room``)."""
        return self.of(user_id) >= self.to_notify(kind)

    def _content(self) -> Mapping[str, Any]:
        return {} if self.event is None else self.event.content

    def _named(self, name: str, default: int) -> int:
        level = read_level(self.create.version.power_level_format, self._content().get(name))
        return default if level is None else level

    def _entry(self, name: str, key: str) -> int | None:
        entries = self._content().get(name)
        if not isinstance(entries, Mapping):
            return None
        return read_level(self.create.version.power_level_format, entries.get(key))
