"""The rule for ``m.room.create``, which decides alone: the event comes before any state."""

from matrixd.core.auth.rules import AuthRule, EventForbidden
from matrixd.core.event import Event
from matrixd.core.identifiers import domain_of, is_user_id
from matrixd.core.versions import ROOM_VERSIONS


def check_create(event: Event) -> None:
    """Rule 1. Raises EventForbidden. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules"""
    rules = event.version.auth
    # Rule 1.1: nothing comes before a room's creation.
    if event.prev_events:
        raise EventForbidden(AuthRule.CREATE_HAS_PARENTS, f"{event.event_id} creates a room but has prev_events")
    # Rule 1.2: in v12 the room ID follows from the event, so the event cannot hold one …
    if event.version.room_id_is_create_hash:
        if "room_id" in event.pdu:
            raise EventForbidden(AuthRule.CREATE_HAS_ROOM_ID, f"{event.event_id} creates a room but has a room_id")
    # … before, a server creates rooms under its own name only.
    elif domain_of(event.room_id) != event.sender_domain:
        raise EventForbidden(
            AuthRule.CREATE_ROOM_OF_OTHER_SERVER,
            f"{event.sender} cannot create {event.room_id}, whose ID belongs to another server",
        )
    # Rule 1.3: we have to know the rules of the room.
    version = event.content.get("room_version", "1")
    if not isinstance(version, str) or version not in ROOM_VERSIONS:
        raise EventForbidden(AuthRule.CREATE_UNKNOWN_VERSION, f"{event.event_id} names an unknown room_version")
    # Rule 1.4 of v1 to v10: the creator is named. From v11 on it is the sender.
    if not rules.creator_is_sender and "creator" not in event.content:
        raise EventForbidden(AuthRule.CREATE_WITHOUT_CREATOR, f"{event.event_id} names no creator")
    # Rule 1.4 of v12: further creators are a list of user IDs.
    if rules.privileged_creators and "additional_creators" in event.content:
        _check_additional_creators(event)


def _check_additional_creators(event: Event) -> None:
    named = event.content["additional_creators"]
    if not isinstance(named, list) or not all(map(is_user_id, named)):
        raise EventForbidden(
            AuthRule.CREATE_ADDITIONAL_CREATORS, f"additional_creators of {event.event_id} is not a list of user IDs"
        )
