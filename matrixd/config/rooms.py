"""Rooms, profiles and presence: what users may do and see."""

from dataclasses import dataclass
from typing import Literal

from matrixd.config.options import Options
from matrixd.config.values import boolean, choice, text, wrong
from matrixd.config.yaml_tree import Value
from matrixd.core.versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS


@dataclass(frozen=True, slots=True)
class RoomRule:
    """Whether an alias may be made, or a room published. `*` and `?` are wildcards; the first rule that fits counts."""

    user_id: str
    alias: str
    room_id: str
    action: Literal["allow", "deny"]


@dataclass(frozen=True, slots=True)
class RoomsConfig:
    """Rooms."""

    default_room_version: str
    encryption_by_default: Literal["off", "invite", "all"]
    """For which new rooms `m.room.encryption` is added: none, those of presets with invitation, all."""
    block_non_admin_invites: bool
    require_membership_for_aliases: bool
    allow_per_room_profiles: bool
    enable_room_list_search: bool
    allow_public_rooms_without_auth: bool
    allow_public_rooms_over_federation: bool
    alias_creation_rules: tuple[RoomRule, ...]
    room_list_publication_rules: tuple[RoomRule, ...]


@dataclass(frozen=True, slots=True)
class ProfilesConfig:
    """Display names and avatars."""

    require_auth_for_profile_requests: bool
    limit_profile_requests_to_users_who_share_rooms: bool
    include_profile_data_on_invite: bool
    enable_set_displayname: bool
    enable_set_avatar_url: bool


PresenceMode = Literal["off", "local", "all"]


@dataclass(frozen=True, slots=True)
class PresenceConfig:
    """Presence."""

    mode: PresenceMode
    """`off`; `local`: between users of this server; `all`: over federation too."""


def read_rooms(options: Options) -> RoomsConfig:
    """Reads the options of rooms."""
    return RoomsConfig(
        default_room_version=options.read("default_room_version", _room_version, DEFAULT_ROOM_VERSION),
        encryption_by_default=options.read(
            "encryption_enabled_by_default_for_room_type", choice("off", "invite", "all"), "off"
        ),
        block_non_admin_invites=options.read("block_non_admin_invites", boolean, False),
        require_membership_for_aliases=options.read("require_membership_for_aliases", boolean, True),
        allow_per_room_profiles=options.read("allow_per_room_profiles", boolean, True),
        enable_room_list_search=options.read("enable_room_list_search", boolean, True),
        allow_public_rooms_without_auth=options.read("allow_public_rooms_without_auth", boolean, False),
        allow_public_rooms_over_federation=options.read("allow_public_rooms_over_federation", boolean, False),
        alias_creation_rules=_rules(options, "alias_creation_rules"),
        room_list_publication_rules=_rules(options, "room_list_publication_rules"),
    )


def read_profiles(options: Options) -> ProfilesConfig:
    """Reads the options of profiles."""
    return ProfilesConfig(
        require_auth_for_profile_requests=options.read("require_auth_for_profile_requests", boolean, False),
        limit_profile_requests_to_users_who_share_rooms=options.read(
            "limit_profile_requests_to_users_who_share_rooms", boolean, False
        ),
        include_profile_data_on_invite=options.read("include_profile_data_on_invite", boolean, True),
        enable_set_displayname=options.read("enable_set_displayname", boolean, True),
        enable_set_avatar_url=options.read("enable_set_avatar_url", boolean, True),
    )


def read_presence(options: Options) -> PresenceConfig:
    """Reads `presence`: `mode` is matrixd's own; Synapse's `enabled` means `all` or `off`."""
    section = options.section("presence")
    mode: PresenceMode = "local"
    if section.value("enabled"):
        mode = "all" if section.read("enabled", boolean, False) else "off"
    return PresenceConfig(section.read("mode", choice("off", "local", "all"), mode))


def _room_version(value: Value) -> str:
    if value.raw not in ROOM_VERSIONS:
        raise wrong(value, f"is `{value.raw}`.", f"Write one of: {', '.join(ROOM_VERSIONS)}.")
    return value.raw


def _rules(options: Options, name: str) -> tuple[RoomRule, ...]:
    value = options.value(name)
    if value is None:
        return (RoomRule("*", "*", "*", "allow"),)
    if isinstance(value.data, bool):  # newer files of Synapse: false forbids everything, true allows it
        return (RoomRule("*", "*", "*", "allow" if value.data else "deny"),)
    return options.sections(name, _rule)


def _rule(options: Options) -> RoomRule:
    return RoomRule(
        user_id=options.read("user_id", text, "*"),
        alias=options.read("alias", text, "*"),
        room_id=options.read("room_id", text, "*"),
        action=options.read("action", choice("allow", "deny"), "allow"),
    )
