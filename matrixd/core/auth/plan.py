"""Plan: which state decides about an event."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from matrixd.core.versions import RoomVersion

_CREATE = ("m.room.create", "")
_POWER_LEVELS = ("m.room.power_levels", "")
_JOIN_RULES = ("m.room.join_rules", "")


def auth_types_for_event(
    version: RoomVersion, event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any]
) -> set[tuple[str, str]]:
    """The keys of the state events that an event names in ``auth_events``, as far as the room has them.

    https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
    """
    if event_type == _CREATE[0]:
        return set()
    needed = {_POWER_LEVELS, ("m.room.member", sender)}
    if not version.auth.create_implied_by_room_id:
        needed.add(_CREATE)
    if event_type == "m.room.member" and state_key is not None:
        needed |= _for_member(version, state_key, content)
    return needed


def state_for_check(
    version: RoomVersion, event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any]
) -> set[tuple[str, str]]:
    """The keys of the state events that `check_state_dependent` reads: those of ``auth_events`` and the creation.

    The creation decides also where the room ID implies it and it is not named in ``auth_events``.
    https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    """
    needed = auth_types_for_event(version, event_type, sender, state_key, content)
    if event_type != _CREATE[0]:
        needed.add(_CREATE)
    return needed


def _for_member(version: RoomVersion, target: str, content: Mapping[str, Any]) -> set[tuple[str, str]]:
    needed = {("m.room.member", target)}
    membership = content.get("membership")
    if membership in ("join", "invite", "knock"):
        needed.add(_JOIN_RULES)
    if membership == "invite":
        token = third_party_token(content)
        if token is not None:
            needed.add(("m.room.third_party_invite", token))
    if membership == "join" and version.auth.restricted:
        authoriser = content.get("join_authorised_via_users_server")
        if _may_be_state_key(authoriser):
            needed.add(("m.room.member", authoriser))
    return needed


def third_party_token(content: Mapping[str, Any]) -> str | None:
    """``third_party_invite.signed.token`` of an invite's content; None without one that can be a state key."""
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, Mapping) else None
    token = signed.get("token") if isinstance(signed, Mapping) else None
    return token if _may_be_state_key(token) else None


def _may_be_state_key(value: object) -> TypeGuard[str]:
    # No event with a NUL in its state key is taken, and no database is to be asked for one.
    return isinstance(value, str) and "\0" not in value
