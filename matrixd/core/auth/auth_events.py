"""The rules about the ``auth_events`` that an event names, and about the room that it claims to be in."""

from collections.abc import Container, Iterable

from matrixd.core.auth.plan import auth_types_for_event
from matrixd.core.auth.rules import AuthRule, EventForbidden
from matrixd.core.event import Event


def check_room(event: Event, create: Event | None, rejected: Container[str]) -> None:
    """Rule 2 of v12: the room ID is that of an accepted ``m.room.create``. Raises EventForbidden.

    https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    """
    if create is None or create.event_id in rejected or f"!{create.event_id[1:]}" != event.room_id:
        raise EventForbidden(
            AuthRule.ROOM_WITHOUT_CREATE, f"{event.event_id} is in {event.room_id}, which no accepted event created"
        )


def check_auth_events(event: Event, auth_events: Iterable[Event], rejected: Container[str]) -> None:
    """Rule 3 (rule 2 before v12): the events named in ``auth_events`` are those that the selection names.

    Raises EventForbidden. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    """
    expected = auth_types_for_event(event.version, event.type, event.sender, event.state_key, event.content)
    seen: set[tuple[str, str]] = set()
    for auth_event in auth_events:
        key = (auth_event.type, auth_event.state_key)
        # Rule 3.2: each of them is one that the selection asks for.
        if key[1] is None or (key[0], key[1]) not in expected:
            raise _forbidden(AuthRule.AUTH_EVENTS_UNEXPECTED, event, auth_event, "which has no say in it")
        # Rule 3.1: one event per place in the state.
        if (key[0], key[1]) in seen:
            raise _forbidden(AuthRule.AUTH_EVENTS_DUPLICATE, event, auth_event, f"a second {auth_event.type}")
        seen.add((key[0], key[1]))
        # Rule 3.3: what was rejected authorises nothing.
        if auth_event.event_id in rejected:
            raise _forbidden(AuthRule.AUTH_EVENTS_REJECTED, event, auth_event, "which was rejected")
        # Rule 3.5: nor does what happened in another room.
        if auth_event.room_id != event.room_id:
            raise _forbidden(AuthRule.AUTH_EVENTS_OF_OTHER_ROOM, event, auth_event, f"of {auth_event.room_id}")
    # Rule 2.4 before v12: the room's creation is among them.
    if not event.version.auth.create_implied_by_room_id and ("m.room.create", "") not in seen:
        raise EventForbidden(
            AuthRule.AUTH_EVENTS_WITHOUT_CREATE, f"auth_events of {event.event_id} do not name the room's creation"
        )


def _forbidden(rule: AuthRule, event: Event, auth_event: Event, why: str) -> EventForbidden:
    return EventForbidden(rule, f"auth_events of {event.event_id} name {auth_event.event_id}, {why}")
