"""Decide: whether the authorisation rules allow an event."""

from collections.abc import Collection, Container, Iterable, Mapping

from matrixd.core.auth.aliases import check_aliases
from matrixd.core.auth.auth_events import check_auth_events, check_room
from matrixd.core.auth.create import check_create
from matrixd.core.auth.membership import check_authoriser_signature, check_membership, check_sender_joined
from matrixd.core.auth.power_levels import check_power_levels
from matrixd.core.auth.redaction import check_redaction
from matrixd.core.auth.rules import AuthRule, EventForbidden
from matrixd.core.content import is_federated
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels, level_text


def check_state_independent(
    event: Event,
    auth_events: Iterable[Event],
    *,
    create: Event | None,
    signed_by: Container[str],
    rejected: Collection[str] = (),
) -> None:
    """The rules that hold whatever the state is: made once for an event. Raises EventForbidden.

    `auth_events` are all events that the event names in ``auth_events``. `create` is the room's ``m.room.create``;
    it is read where the room ID implies it (v12). `signed_by` are the servers whose signature on the event was
    verified, our own for an event that we are about to sign. `rejected` are the IDs of those of the events given
    that were rejected.
    https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
    """
    if event.type == "m.room.create":
        check_create(event)
        return
    if event.version.auth.create_implied_by_room_id:
        check_room(event, create, rejected)
    check_auth_events(event, auth_events, rejected)
    check_authoriser_signature(event, signed_by)


def check_state_dependent(event: Event, state: Mapping[tuple[str, str], Event]) -> None:
    """The rules that depend on a state: that of the auth events, before the event, or now. Raises EventForbidden.

    `state` holds at least what `state_for_check` names, as far as the room has it.
    https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    """
    # Rule 1: the creation comes before any state.
    if event.type == "m.room.create":
        return
    create = state.get(("m.room.create", ""))
    if create is None:
        raise EventForbidden(AuthRule.ROOM_WITHOUT_CREATE, f"the state of {event.room_id} holds no m.room.create")
    # Rule 4: a room that is not federated belongs to the users of its server.
    if not is_federated(create) and create.sender_domain != event.sender_domain:
        raise EventForbidden(AuthRule.NOT_FEDERATED, f"{event.room_id} is closed to the server of {event.sender}")
    powers = PowerLevels(create, state.get(("m.room.power_levels", "")))
    if event.type == "m.room.member":
        check_membership(event, state, powers)
    elif event.type == "m.room.aliases" and event.version.auth.aliases_rule:
        check_aliases(event)
    else:
        # Rule 6: only members send.
        check_sender_joined(event, state)
        _check_sending(event, powers)


def _check_sending(event: Event, powers: PowerLevels) -> None:
    level = powers.of(event.sender)
    # Rule 7: to invite a third-party identifier takes the invite level, and nothing else.
    if event.type == "m.room.third_party_invite":
        if level < powers.invite:
            raise _too_low(event, AuthRule.INVITE_LEVEL, level, powers.invite)
        return
    # Rule 8: every type needs a level.
    needed = powers.to_send(event.type, is_state=event.state_key is not None)
    if level < needed:
        raise _too_low(event, AuthRule.SEND_LEVEL, level, needed)
    # Rule 9: a state key that looks like a user belongs to that user.
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        raise EventForbidden(
            AuthRule.STATE_KEY_OF_OTHER_USER, f"{event.sender} cannot set {event.type} of {event.state_key}"
        )
    if event.type == "m.room.power_levels":
        check_power_levels(event, powers)
    elif event.type == "m.room.redaction" and event.version.auth.redaction_rule:
        check_redaction(event, powers)


def _too_low(event: Event, rule: AuthRule, level: float, needed: int) -> EventForbidden:
    return EventForbidden(
        rule, f"{event.sender} has level {level_text(level)}, to send {event.type} needs level {needed}"
    )
