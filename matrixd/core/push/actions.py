"""What a push rule does when it matches.

https://spec.matrix.org/v1.19/client-server-api/#actions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matrixd.core.errors import MatrixError

MAX_ACTIONS = 16

#: "Clients and homeservers MUST ignore these actions". They are kept in what a client stored, and do nothing.
_HISTORICAL = frozenset({"dont_notify", "coalesce"})


@dataclass(frozen=True, slots=True)
class Actions:
    """A rule's list of actions, and what follows from it.

    `raw` is the list as the API shows it. `notify` says whether there is a notification at all; `tweaks` are its
    tweaks; `highlight` is whether the notification counts as a highlight.
    """

    raw: tuple[Any, ...]
    notify: bool
    highlight: bool
    tweaks: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Sequence[Any]) -> Actions:
        """The meaning of a list of actions that was checked when it was stored. The last tweak of a name wins."""
        notify = "notify" in raw
        tweaks = {
            action["set_tweak"]: action.get("value", True if action["set_tweak"] == "highlight" else None)
            for action in raw
            if isinstance(action, Mapping)
        }
        return cls(tuple(raw), notify, notify and tweaks.get("highlight") is True, tweaks)

    def has_effect_of(self, other: Actions) -> bool:
        """Whether a user would notice no difference: the same notification with the same tweaks, or none."""
        return self is other or (self.notify == other.notify and (not self.notify or self.tweaks == other.tweaks))


NOTHING: Final = Actions.of(())
"""No rule matched, or one whose actions are empty: no notification."""


def parse_actions(value: object, name: str = "actions") -> Actions:
    """Read a list of actions from a request's body; `name` is the field that errors name.

    Raises MatrixError 400 M_BAD_JSON.
    """
    if not isinstance(value, list):
        raise MatrixError(400, "M_BAD_JSON", f"'{name}' must be an array")
    if len(value) > MAX_ACTIONS:
        raise MatrixError(400, "M_BAD_JSON", f"'{name}' has more than {MAX_ACTIONS} entries")
    for index, action in enumerate(value):
        _check_action(action, f"{name}[{index}]")
    return Actions.of(value)


def _check_action(action: object, name: str) -> None:
    if isinstance(action, Mapping):
        if not isinstance(action.get("set_tweak"), str):
            raise MatrixError(400, "M_BAD_JSON", f"'{name}.set_tweak' must be a string")
    elif not (isinstance(action, str) and (action == "notify" or action in _HISTORICAL)):
        raise MatrixError(400, "M_BAD_JSON", f"'{name}' is not an action that the specification defines")
