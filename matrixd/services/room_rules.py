"""What the configuration allows to be called, or published: `alias_creation_rules`, `room_list_publication_rules`."""

from collections.abc import Collection, Sequence

from matrixd.config.rooms import RoomRule
from matrixd.core.globs import Matcher, compile_glob


class RoomRules:
    """A list of rules, of which the first that fits decides; where none fits, nothing is allowed."""

    def __init__(self, rules: Sequence[RoomRule]) -> None:
        self._rules = [
            (compile_glob(rule.user_id), rule.alias, compile_glob(rule.alias), compile_glob(rule.room_id), rule.action)
            for rule in rules
        ]

    def allow(self, user_id: str, room_id: str, aliases: Collection[str]) -> bool:
        """Whether the user may do it; a rule fits when its alias fits one of `aliases`, `*` also when there is none."""
        for users, alias_glob, alias, rooms, action in self._rules:
            if users(user_id) and rooms(room_id) and (alias_glob == "*" or _any(alias, aliases)):
                return action == "allow"
        return False


def _any(matches: Matcher, aliases: Collection[str]) -> bool:
    return any(matches(alias) for alias in aliases)
