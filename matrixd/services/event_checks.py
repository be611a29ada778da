"""What a client may not put into an event although the rules of rooms would let it: it would do harm, or no good."""

from collections.abc import Callable, Mapping
from typing import Any

from matrixd.core.acl import ServerAcl, host_of
from matrixd.core.auth.power_levels import NAMED_LEVELS
from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_user_id
from matrixd.core.power import read_level
from matrixd.core.versions import RoomVersion

Content = Mapping[str, Any]


def check_type(event_type: str) -> None:
    """Raises M_INVALID_PARAM for an event type that cannot be stored."""
    if not event_type or "\0" in event_type:
        raise MatrixError(400, "M_INVALID_PARAM", "'eventType' must not be empty or hold a NUL.")


def check_state_key(state_key: str) -> None:
    """Raises M_INVALID_PARAM for a state key that cannot be stored."""
    if "\0" in state_key:
        raise MatrixError(400, "M_INVALID_PARAM", "'stateKey' must not hold a NUL.")


def check_message(room_id: str, event_type: str, content: Content) -> None:
    """Raises MatrixError for a message event that would do harm."""
    if event_type == "m.room.tombstone":
        _check_tombstone(room_id, content)


def check_state(room_id: str, version: RoomVersion, server_name: str, event_type: str, content: Content) -> None:
    """Raises M_BAD_JSON, M_INVALID_PARAM or M_FORBIDDEN for a state event of a known type that would do harm."""
    if event_type == "m.room.create":
        raise MatrixError(403, "M_FORBIDDEN", "A room is created once.")
    if event_type == "m.room.tombstone":
        _check_tombstone(room_id, content)
    elif event_type == "m.room.power_levels":
        check_power_levels(version, content)
    elif event_type == "m.room.server_acl":
        _check_server_acl(server_name, content)
    elif event_type == "m.room.join_rules":
        _expect(isinstance(content.get("join_rule"), str), "'join_rule' must be a string.")


def _check_tombstone(room_id: str, content: Content) -> None:
    if content.get("replacement_room") == room_id:
        raise MatrixError(400, "M_INVALID_PARAM", "'replacement_room' must be another room.")


def check_power_levels(version: RoomVersion, content: Content, field: str = "") -> None:
    """Raises M_BAD_JSON for levels that nobody could read; `field` is what the content is in the request's body.

    https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
    """

    def is_level(value: object) -> bool:
        return read_level(version.power_level_format, value) is not None

    place = f"{field}." if field else ""
    for name in NAMED_LEVELS:
        if name in content:
            _expect(is_level(content[name]), f"'{place}{name}' must be an integer.")
    for name in ("events", "users", "notifications"):
        if name in content:
            _check_level_map(f"{place}{name}", content[name], is_level)
    for user_id in content.get("users", ()):
        _expect(is_user_id(user_id), f"'{place}users' must have user IDs as its keys.")


def _check_level_map(name: str, value: object, is_level: Callable[[object], bool]) -> None:
    if not isinstance(value, Mapping):
        raise MatrixError(400, "M_BAD_JSON", f"'{name}' must be an object.")
    for key, level in value.items():
        _expect(is_level(level), f"'{name}.{key}' must be an integer.")


def _check_server_acl(server_name: str, content: Content) -> None:
    for name in ("allow", "deny"):
        servers = content.get(name, [])
        _expect(
            isinstance(servers, list) and all(isinstance(server, str) for server in servers),
            f"'{name}' must be a list of strings.",
        )
    # A pattern that hits this server, or a list that lacks it, is a slip; its own name in `deny` is none.
    is_meant = any(host_of(server.lower()) == host_of(server_name.lower()) for server in content.get("deny", []))
    if not is_meant and not ServerAcl(content).allows(server_name):
        raise MatrixError(403, "M_FORBIDDEN", f"This list would keep {server_name} itself out of the room.")


def _expect(condition: bool, sentence: str) -> None:
    if not condition:
        raise MatrixError(400, "M_BAD_JSON", sentence)
