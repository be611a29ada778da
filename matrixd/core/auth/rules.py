"""The names of the authorisation rules, and the error that says which of them an event broke."""

from enum import Enum

from matrixd.core.errors import RuleViolation


class AuthRule(Enum):
    """An authorisation rule that can reject an event. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules"""

    CREATE_HAS_PARENTS = "create_has_parents"
    CREATE_ROOM_OF_OTHER_SERVER = "create_room_of_other_server"
    CREATE_HAS_ROOM_ID = "create_has_room_id"
    CREATE_UNKNOWN_VERSION = "create_unknown_version"
    CREATE_WITHOUT_CREATOR = "create_without_creator"
    CREATE_ADDITIONAL_CREATORS = "create_additional_creators"
    CREATE_OF_CREATED_ROOM = "create_of_created_room"
    ROOM_WITHOUT_CREATE = "room_without_create"
    AUTH_EVENTS_DUPLICATE = "auth_events_duplicate"
    AUTH_EVENTS_UNEXPECTED = "auth_events_unexpected"
    AUTH_EVENTS_REJECTED = "auth_events_rejected"
    AUTH_EVENTS_WITHOUT_CREATE = "auth_events_without_create"
    AUTH_EVENTS_OF_OTHER_ROOM = "auth_events_of_other_room"
    NOT_FEDERATED = "not_federated"
    ALIASES_WITHOUT_STATE_KEY = "aliases_without_state_key"
    ALIASES_OF_OTHER_SERVER = "aliases_of_other_server"
    MEMBER_INCOMPLETE = "member_incomplete"
    MEMBER_UNKNOWN_MEMBERSHIP = "member_unknown_membership"
    JOIN_AUTHORISER_NOT_SIGNED = "join_authoriser_not_signed"
    JOIN_FOR_OTHER_USER = "join_for_other_user"
    JOIN_BANNED = "join_banned"
    JOIN_NOT_INVITED = "join_not_invited"
    JOIN_NOT_AUTHORISED = "join_not_authorised"
    JOIN_UNKNOWN_RULE = "join_unknown_rule"
    THIRD_PARTY_BANNED = "third_party_banned"
    THIRD_PARTY_NOT_SIGNED = "third_party_not_signed"
    THIRD_PARTY_INCOMPLETE = "third_party_incomplete"
    THIRD_PARTY_OTHER_USER = "third_party_other_user"
    THIRD_PARTY_UNKNOWN_TOKEN = "third_party_unknown_token"
    THIRD_PARTY_OTHER_SENDER = "third_party_other_sender"
    THIRD_PARTY_SIGNATURE = "third_party_signature"
    SENDER_NOT_JOINED = "sender_not_joined"
    INVITE_ALREADY_MEMBER = "invite_already_member"
    INVITE_LEVEL = "invite_level"
    LEAVE_NOT_MEMBER = "leave_not_member"
    UNBAN_LEVEL = "unban_level"
    KICK_LEVEL = "kick_level"
    KICK_TARGET_LEVEL = "kick_target_level"
    BAN_LEVEL = "ban_level"
    BAN_TARGET_LEVEL = "ban_target_level"
    KNOCK_JOIN_RULE = "knock_join_rule"
    KNOCK_FOR_OTHER_USER = "knock_for_other_user"
    KNOCK_MEMBERSHIP = "knock_membership"
    SEND_LEVEL = "send_level"
    STATE_KEY_OF_OTHER_USER = "state_key_of_other_user"
    POWER_LEVELS_FORMAT = "power_levels_format"
    POWER_LEVELS_NAME_CREATOR = "power_levels_name_creator"
    POWER_LEVELS_ABOVE_SENDER = "power_levels_above_sender"
    POWER_LEVELS_OF_EQUAL_USER = "power_levels_of_equal_user"
    REDACT_LEVEL = "redact_level"


class EventForbidden(RuleViolation):
    """The authorisation rules do not allow the event: from another server it is rejected, a client gets a 403.

    `rule` names the rule, `str(e)` is a sentence with the users and levels concerned.
    https://spec.matrix.org/v1.19/server-server-api/#rejection
    """

    rule: AuthRule

    def __init__(self, rule: AuthRule, message: str) -> None:
        super().__init__(rule, message)
