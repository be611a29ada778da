"""Reading the content of events that anybody may have written: what cannot be read counts as absent.

Each function takes the event of a state, or None when the state has none, and answers with the specification's default
where nothing readable is said. Power levels have their own file, `power`; server ACLs `acl`.
https://spec.matrix.org/v1.19/client-server-api/#room-events
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from matrixd.core.event import Event
from matrixd.core.identifiers import is_event_id, is_room_alias, is_room_id, is_user_id

#: https://spec.matrix.org/v1.19/client-server-api/#mroommember
MEMBERSHIPS: Final = frozenset({"invite", "join", "knock", "leave", "ban"})
#: https://spec.matrix.org/v1.19/client-server-api/#mroomhistory_visibility
HISTORY_VISIBILITIES: Final = frozenset({"invited", "joined", "shared", "world_readable"})


# --- m.room.create: https://spec.matrix.org/v1.19/client-server-api/#mroomcreate


def room_version(create: Event | Mapping[str, Any]) -> str:
    """The identifier of the room's version that a creation event, or its content, names; "1" when it names none."""
    content = create.content if isinstance(create, Event) else create
    version = content.get("room_version", "1")
    return version if isinstance(version, str) else "1"


def room_type(create: Event | None) -> str | None:
    """The room's type, `m.space` for a space."""
    return _text(create, "type")


def is_federated(create: Event) -> bool:
    """Whether users of other servers may take part: false only when `m.federate` is exactly that."""
    return create.content.get("m.federate") is not False


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The room that another one replaces."""

    room_id: str
    #: The last known event there, if the creator knew one.
    event_id: str | None


def predecessor(create: Event) -> Predecessor | None:
    """The room that this one replaces."""
    value = create.content.get("predecessor")
    if not isinstance(value, dict) or not is_room_id(value.get("room_id")):
        return None
    event_id = value.get("event_id")
    return Predecessor(value["room_id"], event_id if is_event_id(event_id) else None)


def replacement_room(tombstone: Event | None) -> str | None:
    """The room that replaces this one. https://spec.matrix.org/v1.19/client-server-api/#mroomtombstone"""
    room_id = _text(tombstone, "replacement_room")
    return room_id if is_room_id(room_id) else None


# --- m.room.member: https://spec.matrix.org/v1.19/client-server-api/#mroommember


def membership(member: Event | None) -> str:
    """The membership that a member event gives its user, `leave` without one.

    What it says is taken as it is: only the authorisation rules, which let no unknown one through, look at its value.
    """
    return (member.membership if member is not None else None) or "leave"


def display_name(member: Event | None) -> str | None:
    """The display name of a member."""
    return _text(member, "displayname")


def avatar_url(event: Event | None) -> str | None:
    """The avatar of a member: `avatar_url` of `m.room.member`; for a room's see `room_avatar`."""
    return _text(event, "avatar_url")


def authorised_via(member: Event) -> str | None:
    """The user, of a server that may invite, through whom a restricted room was joined."""
    user_id = _text(member, "join_authorised_via_users_server")
    return user_id if is_user_id(user_id) else None


def is_direct(member: Event | None) -> bool:
    """Whether an invite says that the room is a direct chat."""
    return member is not None and member.content.get("is_direct") is True


@dataclass(frozen=True, slots=True)
class SignedThirdPartyInvite:
    """What an identity server signed: that the token's invite is for this user."""

    mxid: str
    token: str
    #: The object with its `signatures`.
    signed: Mapping[str, Any]


def signed_third_party_invite(member: Event) -> SignedThirdPartyInvite | None:
    """`content.third_party_invite.signed` of an invite, None when a part is missing.

    https://spec.matrix.org/v1.19/client-server-api/#mroommember
    """
    invite = member.content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    if not isinstance(signed, dict):
        return None
    mxid, token = signed.get("mxid"), signed.get("token")
    if not isinstance(mxid, str) or not isinstance(token, str):
        return None
    return SignedThirdPartyInvite(mxid, token, signed)


def third_party_invite_keys(invite: Event) -> tuple[str, ...]:
    """The public keys (base64) of an `m.room.third_party_invite`: `public_key` and those of `public_keys`.

    https://spec.matrix.org/v1.19/client-server-api/#mroomthird_party_invite
    """
    found = [invite.content.get("public_key")]
    more = invite.content.get("public_keys")
    if isinstance(more, list):
        found += [entry.get("public_key") for entry in more if isinstance(entry, dict)]
    return tuple(dict.fromkeys(key for key in found if isinstance(key, str)))


# --- Who may come in, and who may look


def join_rule(event: Event | None) -> str:
    """The join rule, `invite` when none can be read.

    https://spec.matrix.org/v1.19/client-server-api/#mroomjoin_rules
    """
    return _text(event, "join_rule") or "invite"


def allowed_rooms(event: Event | None) -> tuple[str, ...]:
    """The rooms whose members may join a restricted room; what conditions of other types allow is not known.

    https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
    """
    conditions = event.content.get("allow") if event is not None else None
    if not isinstance(conditions, list):
        return ()
    rooms = (
        condition.get("room_id")
        for condition in conditions
        if isinstance(condition, dict) and condition.get("type") == "m.room_membership"
    )
    return tuple(dict.fromkeys(room_id for room_id in rooms if isinstance(room_id, str) and is_room_id(room_id)))


def history_visibility(event: Event | None) -> str:
    """One of HISTORY_VISIBILITIES, `shared` when none can be read.

    https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
    """
    value = _text(event, "history_visibility")
    return value if value in HISTORY_VISIBILITIES and value is not None else "shared"


def guests_may_join(event: Event | None) -> bool:
    """Whether `m.room.guest_access` says `can_join`. https://spec.matrix.org/v1.19/client-server-api/#mroomguest_access"""
    return _text(event, "guest_access") == "can_join"


# --- What a room calls itself


def room_name(event: Event | None) -> str | None:
    """The name, None for an empty one too. https://spec.matrix.org/v1.19/client-server-api/#mroomname"""
    return _text(event, "name") or None


def room_topic(event: Event | None) -> str | None:
    """The topic, None for an empty one too. https://spec.matrix.org/v1.19/client-server-api/#mroomtopic"""
    return _text(event, "topic") or None


def room_avatar(event: Event | None) -> str | None:
    """The avatar's URL. https://spec.matrix.org/v1.19/client-server-api/#mroomavatar"""
    return _text(event, "url") or None


def canonical_alias(event: Event | None) -> str | None:
    """The main alias. https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias"""
    alias = _text(event, "alias")
    return alias if is_room_alias(alias) else None


def alternative_aliases(event: Event | None) -> tuple[str, ...]:
    """The other aliases that a room advertises, each once, in their order."""
    aliases = event.content.get("alt_aliases") if event is not None else None
    if not isinstance(aliases, list):
        return ()
    return tuple(dict.fromkeys(alias for alias in aliases if isinstance(alias, str) and is_room_alias(alias)))


def encryption_algorithm(event: Event | None) -> str | None:
    """How the room is encrypted. https://spec.matrix.org/v1.19/client-server-api/#mroomencryption"""
    return _text(event, "algorithm")


# --- How an event relates to another: https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events


@dataclass(frozen=True, slots=True)
class Relation:
    """What `m.relates_to` says."""

    rel_type: str
    event_id: str
    #: Of an `m.annotation`: what it groups by, the emoji of a reaction.
    key: str | None


def relation(content: Mapping[str, Any]) -> Relation | None:
    """The event that this content relates to, None without a type or an event ID."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return None
    rel_type, event_id, key = relates_to.get("rel_type"), relates_to.get("event_id"), relates_to.get("key")
    if not isinstance(rel_type, str) or not isinstance(event_id, str):
        return None
    return Relation(rel_type, event_id, key if isinstance(key, str) else None)


def _text(event: Event | None, name: str) -> str | None:
    value = event.content.get(name) if event is not None else None
    return value if isinstance(value, str) else None
