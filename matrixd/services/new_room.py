"""The events with which a room begins: pure functions from a client's wishes to drafts, in the specification's order.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_user_id
from matrixd.core.power import read_level
from matrixd.core.versions import RoomVersion
from matrixd.services.event_checks import (
    check_power_levels,
    check_state,
    check_state_key,
    check_type,
)

Preset = Literal["private_chat", "trusted_private_chat", "public_chat"]
Content = Mapping[str, Any]

#: State events, and invites, that one request may ask for.
MAX_INITIAL_STATE = 500
MAX_INVITES = 200
#: The level of those who may do everything.
ADMIN_LEVEL = 100
_ENCRYPTION = {"algorithm": "m.megolm.v1.aes-sha2"}


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A state event that a client wants the room to begin with."""

    type: str
    state_key: str
    content: Content


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the room is to be like."""

    preset: Preset
    creation_content: Content
    name: str | None = None
    topic: str | None = None
    alias: str | None = None
    initial_state: Sequence[StateEvent] = ()
    power_level_content_override: Content | None = None
    invite: Sequence[str] = ()
    is_encrypted: bool = False


def create_content(version: RoomVersion, creator: str, wishes: Wishes) -> dict[str, Any]:
    """The content of m.room.create. Raises M_BAD_JSON."""
    content = {name: value for name, value in wishes.creation_content.items() if name != "creator"}
    content["room_version"] = version.identifier
    if not version.auth.creator_is_sender:
        content["creator"] = creator
    if not isinstance(content.get("m.federate", True), bool):
        raise MatrixError(400, "M_BAD_JSON", "'creation_content.m.federate' must be a boolean.")
    if not isinstance(content.get("type", ""), str):
        raise MatrixError(400, "M_BAD_JSON", "'creation_content.type' must be a string.")
    if version.auth.privileged_creators:
        trusted = wishes.invite if wishes.preset == "trusted_private_chat" else ()
        named = additional_creators(content.pop("additional_creators", []), "creation_content.additional_creators")
        together = [user_id for user_id in dict.fromkeys([*named, *trusted]) if user_id != creator]
        if together:
            content["additional_creators"] = together
    return content


def additional_creators(value: object, field: str) -> list[str]:
    """A list of user IDs. Raises M_BAD_JSON, naming the field."""
    if not isinstance(value, list) or not all(is_user_id(user_id) for user_id in value):
        raise MatrixError(400, "M_BAD_JSON", f"'{field}' must be a list of user IDs.")
    return list(value)


def power_levels(version: RoomVersion, creator: str, wishes: Wishes) -> dict[str, Any]:
    """The content of m.room.power_levels. Raises M_BAD_JSON for an override that nobody could read."""
    override = wishes.power_level_content_override or {}
    check_power_levels(version, override, "power_level_content_override")
    state_default = read_level(version.power_level_format, override.get("state_default", 50)) or 0
    content: dict[str, Any] = {
        "users": {},
        "users_default": 0,
        "events": {
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.encryption": 100,
            "m.room.history_visibility": 100,
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": tombstone_level(version, state_default),
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if wishes.preset == "public_chat" else 0,
        "notifications": {"room": 50},
    }
    if not version.auth.privileged_creators:
        trusted = wishes.invite if wishes.preset == "trusted_private_chat" else ()
        content["users"] = dict.fromkeys([creator, *trusted], ADMIN_LEVEL)
    content.update(override)
    events = content["events"]
    if version.auth.privileged_creators and "m.room.tombstone" not in events:
        content["events"] = {**events, "m.room.tombstone": tombstone_level(version, state_default)}
    return content


def tombstone_level(version: RoomVersion, state_default: int) -> int:
    """The level for m.room.tombstone; from version 12 on it "MUST explicitly be higher than `state_default`"."""
    return max(150, state_default + 50) if version.auth.privileged_creators else ADMIN_LEVEL


def rest_of_state(version: RoomVersion, server_name: str, wishes: Wishes) -> list[StateEvent]:
    """What follows the creation, the creator's join and the power levels. Raises M_BAD_JSON and its like."""
    _check(version, server_name, wishes)
    state: list[StateEvent] = []
    if wishes.alias is not None:
        state.append(StateEvent("m.room.canonical_alias", "", {"alias": wishes.alias}))
    given = {(event.type, event.state_key) for event in wishes.initial_state}
    state += [event for event in _of_preset(wishes) if (event.type, event.state_key) not in given]
    named = _named(wishes)
    overwritten = {(event.type, event.state_key) for event in named}
    state += [event for event in wishes.initial_state if (event.type, event.state_key) not in overwritten]
    return state + named


def _check(version: RoomVersion, server_name: str, wishes: Wishes) -> None:
    if len(wishes.initial_state) > MAX_INITIAL_STATE:
        sentence = f"'initial_state' must not have more than {MAX_INITIAL_STATE} events."
        raise MatrixError(400, "M_INVALID_PARAM", sentence)
    for event in wishes.initial_state:
        check_type(event.type)
        check_state_key(event.state_key)
        check_state("", version, server_name, event.type, event.content)
        if event.type == "m.room.canonical_alias":
            _check_canonical_alias(event.content, wishes.alias)


def _check_canonical_alias(content: Content, alias: str | None) -> None:
    others = content.get("alt_aliases")
    for name in (content.get("alias"), *(others if isinstance(others, list) else ())):
        if name and name != alias:
            raise MatrixError(400, "M_BAD_ALIAS", f"The alias '{name}' does not point to this room.")


def _of_preset(wishes: Wishes) -> list[StateEvent]:
    is_public = wishes.preset == "public_chat"
    state = [
        StateEvent("m.room.join_rules", "", {"join_rule": "public" if is_public else "invite"}),
        StateEvent("m.room.history_visibility", "", {"history_visibility": "shared"}),
        StateEvent("m.room.guest_access", "", {"guest_access": "forbidden" if is_public else "can_join"}),
    ]
    if wishes.is_encrypted:
        state.append(StateEvent("m.room.encryption", "", _ENCRYPTION))
    return state


def _named(wishes: Wishes) -> list[StateEvent]:
    state = []
    if wishes.name is not None:
        state.append(StateEvent("m.room.name", "", {"name": wishes.name}))
    if wishes.topic is not None:
        content: dict[str, Any] = {"topic": wishes.topic}
        if wishes.topic:
            content["m.topic"] = {"m.text": [{"body": wishes.topic, "mimetype": "text/plain"}]}
        state.append(StateEvent("m.room.topic", "", content))
    return state


def checked_invites(creator: str, user_ids: Collection[str]) -> list[str]:
    """Whom to invite, each once. Raises M_INVALID_PARAM."""
    invites = list(dict.fromkeys(user_ids))
    if len(invites) > MAX_INVITES:
        raise MatrixError(400, "M_INVALID_PARAM", f"'invite' must not have more than {MAX_INVITES} users.")
    if creator in invites:
        raise MatrixError(400, "M_INVALID_PARAM", "'invite' must not name you: who makes a room is in it.")
    return invites
