"""Room versions: what each version of a room means by "event", "allowed", "redacted" and "state".

A room version is one frozen record of flags. Version N is written as version N-1 plus its changes, so that this
file reads like the history of the room versions. Code asks for the flag that it needs and never for the number:
versions have no order (https://spec.matrix.org/v1.19/rooms/).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType


class EventFormat(Enum):
    """How a PDU is laid out on the wire."""

    #: An ``event_id`` field; ``prev_events`` and ``auth_events`` are lists of ``[event_id, hashes]`` pairs.
    #: https://spec.matrix.org/v1.19/rooms/v1/#event-format
    WITH_EVENT_ID = "with_event_id"
    #: No ``event_id`` field; ``prev_events`` and ``auth_events`` are plain lists of event IDs.
    #: https://spec.matrix.org/v1.19/rooms/v3/#event-format
    WITHOUT_EVENT_ID = "without_event_id"


class EventIdFormat(Enum):
    """Where an event's ID comes from."""

    #: ``$opaque_id:domain``, chosen by the origin server. https://spec.matrix.org/v1.19/rooms/v1/#event-ids
    CHOSEN = "chosen"
    #: ``$`` and the reference hash in unpadded base64. https://spec.matrix.org/v1.19/rooms/v3/#event-ids
    HASH = "hash"
    #: ``$`` and the reference hash in URL-safe unpadded base64. https://spec.matrix.org/v1.19/rooms/v4/#event-ids
    URL_SAFE_HASH = "url_safe_hash"


class StateResolution(Enum):
    """The algorithm that merges the states of several branches."""

    #: https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
    V1 = "1"
    #: https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
    V2 = "2"
    #: Version 2, starting from an empty state and with the conflicted state subgraph.
    #: https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
    V2_1 = "2.1"


class PowerLevelFormat(Enum):
    """Which JSON values count as a power level."""

    #: Integers, strings of an integer, and floats (cut at the decimal point).
    #: https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-floats
    INTEGER_STRING_FLOAT = "integer_string_float"
    #: Integers and strings of an integer; canonical JSON leaves no room for floats.
    #: https://spec.matrix.org/v1.19/rooms/v6/#mroompower_levels-events-accept-values-as-strings
    INTEGER_STRING = "integer_string"
    #: Integers only. https://spec.matrix.org/v1.19/rooms/v10/#values-in-mroompower_levels-events-must-be-integers
    INTEGER = "integer"


@dataclass(frozen=True, slots=True, eq=False)
class RedactionRules:
    """What survives the redaction of an event. https://spec.matrix.org/v1.19/rooms/v1/#redactions"""

    #: Top-level keys that stay. v11 drops ``origin``, ``membership`` and ``prev_state``.
    #: https://spec.matrix.org/v1.19/rooms/v11/#redactions
    top_level: frozenset[str]
    #: Event type -> keys of ``content`` that stay; the content of a type that is not named here is emptied.
    #: v6 drops ``m.room.aliases``, v8 keeps ``allow``, v9 ``join_authorised_via_users_server``, v11 ``invite`` and
    #: ``redacts``.
    content: Mapping[str, frozenset[str]]
    #: v11: ``m.room.create`` keeps its whole ``content``. https://spec.matrix.org/v1.19/rooms/v11/#redactions
    keeps_create_content: bool
    #: v11: ``m.room.member`` keeps ``signed`` inside ``third_party_invite``.
    #: https://spec.matrix.org/v1.19/rooms/v11/#redactions
    keeps_third_party_signed: bool


@dataclass(frozen=True, slots=True, eq=False)
class AuthRules:
    """Switches of the authorisation rules. https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules"""

    #: v1 to v5: rule 4, a server may set ``m.room.aliases`` under its own name without being in the room.
    #: Dropped by v6. https://spec.matrix.org/v1.19/rooms/v6/#authorisation-rules
    aliases_rule: bool
    #: v1 and v2: rule 11, the redact level (or the event ID's domain) is a condition for the redaction *event*.
    #: From v3 on it is a condition for applying it. https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
    redaction_rule: bool
    #: v6: ``notifications`` is checked like ``events`` when power levels change.
    #: https://spec.matrix.org/v1.19/rooms/v6/#authorisation-rules
    notifications_rule: bool
    #: v7: membership and join rule ``knock``. https://spec.matrix.org/v1.19/rooms/v7/#authorisation-rules
    knock: bool
    #: v8: join rule ``restricted``. https://spec.matrix.org/v1.19/rooms/v8/#authorisation-rules
    restricted: bool
    #: v10: join rule ``knock_restricted``. https://spec.matrix.org/v1.19/rooms/v10/#authorisation-rules
    knock_restricted: bool
    #: v10: rules 9.1 and 9.2, every value in ``m.room.power_levels`` has to be an integer, not only those of ``users``.
    #: https://spec.matrix.org/v1.19/rooms/v10/#authorisation-rules
    validates_all_power_levels: bool
    #: v11: the creator is the ``sender`` of ``m.room.create``; before, ``content.creator``, which must be there.
    #: https://spec.matrix.org/v1.19/rooms/v11/#remove-the-creator-property-of-mroomcreate-events
    creator_is_sender: bool
    #: v12: creators (sender and ``additional_creators``) have infinite power, and power levels may not name them.
    #: https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    privileged_creators: bool
    #: v12: ``m.room.create`` is never listed in ``auth_events``: the room ID implies it.
    #: https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    create_implied_by_room_id: bool


@dataclass(frozen=True, slots=True, eq=False)
class RoomVersion:
    """One room version. Records are singletons, compared by identity. https://spec.matrix.org/v1.19/rooms/"""

    identifier: str
    #: Whether ``/capabilities`` calls the version ``stable``.
    #: https://spec.matrix.org/v1.19/client-server-api/#mroom_versions-capability
    stable: bool
    #: v3 drops ``event_id`` and the hashes beside references.
    event_format: EventFormat
    #: v3 derives it from the reference hash, v4 makes that safe for URLs.
    event_id_format: EventIdFormat
    #: v1 and v2: the server in the event ID has to sign the event as well.
    #: Dropped by v3. https://spec.matrix.org/v1.19/rooms/v3/#authorisation-rules
    signed_by_event_id_domain: bool
    #: v5: a signing key counts only while it is valid (``valid_until_ts``, at most 7 days ahead).
    #: https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
    enforces_key_validity: bool
    #: v6: an event that is not canonical JSON (floats, integers beyond 2^53 - 1) is refused.
    #: https://spec.matrix.org/v1.19/rooms/v6/#canonical-json
    strict_canonical_json: bool
    #: v6 loses floats, v10 strings.
    power_level_format: PowerLevelFormat
    #: v11: a redaction names its target in ``content.redacts`` instead of the top-level ``redacts``.
    #: https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
    redacts_in_content: bool
    #: v12: the room ID is the event ID of ``m.room.create`` with ``!`` for ``$``, and that event has no ``room_id``.
    #: https://spec.matrix.org/v1.19/rooms/v12/#event-format
    room_id_is_create_hash: bool
    state_resolution: StateResolution
    auth: AuthRules
    redaction: RedactionRules


def _changed(content: Mapping[str, frozenset[str]], **changes: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """The table with some of the ``m.room.*`` types replaced."""
    return MappingProxyType({**content, **{f"m.room.{name}": keys for name, keys in changes.items()}})


# The building blocks of all the others. https://spec.matrix.org/v1.19/rooms/v1/
V1 = RoomVersion(
    identifier="1",
    stable=True,
    event_format=EventFormat.WITH_EVENT_ID,
    event_id_format=EventIdFormat.CHOSEN,
    signed_by_event_id_domain=True,
    enforces_key_validity=False,
    strict_canonical_json=False,
    power_level_format=PowerLevelFormat.INTEGER_STRING_FLOAT,
    redacts_in_content=False,
    room_id_is_create_hash=False,
    state_resolution=StateResolution.V1,
    auth=AuthRules(
        aliases_rule=True,
        redaction_rule=True,
        notifications_rule=False,
        knock=False,
        restricted=False,
        knock_restricted=False,
        validates_all_power_levels=False,
        creator_is_sender=False,
        privileged_creators=False,
        create_implied_by_room_id=False,
    ),
    redaction=RedactionRules(
        top_level=frozenset(
            {"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth"}
            | {"prev_events", "prev_state", "auth_events", "origin", "origin_server_ts", "membership"}
        ),
        content=MappingProxyType(
            {
                "m.room.member": frozenset({"membership"}),
                "m.room.create": frozenset({"creator"}),
                "m.room.join_rules": frozenset({"join_rule"}),
                "m.room.power_levels": frozenset(
                    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
                ),
                "m.room.aliases": frozenset({"aliases"}),
                "m.room.history_visibility": frozenset({"history_visibility"}),
            }
        ),
        keeps_create_content=False,
        keeps_third_party_signed=False,
    ),
)

# A better state resolution. https://spec.matrix.org/v1.19/rooms/v2/
V2 = replace(V1, identifier="2", state_resolution=StateResolution.V2)

# Event IDs are hashes. https://spec.matrix.org/v1.19/rooms/v3/
V3 = replace(
    V2,
    identifier="3",
    event_format=EventFormat.WITHOUT_EVENT_ID,
    event_id_format=EventIdFormat.HASH,
    signed_by_event_id_domain=False,
    auth=replace(V2.auth, redaction_rule=False),
)

# … that are safe in URLs. https://spec.matrix.org/v1.19/rooms/v4/
V4 = replace(V3, identifier="4", event_id_format=EventIdFormat.URL_SAFE_HASH)

# Signing keys expire. https://spec.matrix.org/v1.19/rooms/v5/
V5 = replace(V4, identifier="5", enforces_key_validity=True)

# Canonical JSON is enforced, aliases are ordinary state. https://spec.matrix.org/v1.19/rooms/v6/
V6 = replace(
    V5,
    identifier="6",
    strict_canonical_json=True,
    power_level_format=PowerLevelFormat.INTEGER_STRING,
    auth=replace(V5.auth, aliases_rule=False, notifications_rule=True),
    redaction=replace(V5.redaction, content=_changed(V5.redaction.content, aliases=frozenset())),
)

# Knocking. https://spec.matrix.org/v1.19/rooms/v7/
V7 = replace(V6, identifier="7", auth=replace(V6.auth, knock=True))

# Restricted rooms. https://spec.matrix.org/v1.19/rooms/v8/
V8 = replace(
    V7,
    identifier="8",
    auth=replace(V7.auth, restricted=True),
    redaction=replace(
        V7.redaction, content=_changed(V7.redaction.content, join_rules=frozenset({"join_rule", "allow"}))
    ),
)

# A redacted restricted join stays a join. https://spec.matrix.org/v1.19/rooms/v9/
V9 = replace(
    V8,
    identifier="9",
    redaction=replace(
        V8.redaction,
        content=_changed(V8.redaction.content, member=frozenset({"membership", "join_authorised_via_users_server"})),
    ),
)

# Power levels are integers, restricted rooms may be knocked on. https://spec.matrix.org/v1.19/rooms/v10/
V10 = replace(
    V9,
    identifier="10",
    power_level_format=PowerLevelFormat.INTEGER,
    auth=replace(V9.auth, knock_restricted=True, validates_all_power_levels=True),
)

# A cleaner redaction. https://spec.matrix.org/v1.19/rooms/v11/
V11 = replace(
    V10,
    identifier="11",
    redacts_in_content=True,
    auth=replace(V10.auth, creator_is_sender=True),
    redaction=RedactionRules(
        top_level=V10.redaction.top_level - {"origin", "membership", "prev_state"},
        content=_changed(
            V10.redaction.content,
            power_levels=V10.redaction.content["m.room.power_levels"] | {"invite"},
            redaction=frozenset({"redacts"}),
        ),
        keeps_create_content=True,
        keeps_third_party_signed=True,
    ),
)

# The room ID is the hash of its creation, creators are above power levels. https://spec.matrix.org/v1.19/rooms/v12/
V12 = replace(
    V11,
    identifier="12",
    room_id_is_create_hash=True,
    state_resolution=StateResolution.V2_1,
    auth=replace(V11.auth, privileged_creators=True, create_implied_by_room_id=True),
)

#: Every version that this server knows, by identifier.
ROOM_VERSIONS: Mapping[str, RoomVersion] = MappingProxyType(
    {version.identifier: version for version in (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12)}
)

#: What ``/createRoom`` uses when the client names none. https://spec.matrix.org/v1.19/rooms/#complete-list-of-room-versions
DEFAULT_ROOM_VERSION = "12"
