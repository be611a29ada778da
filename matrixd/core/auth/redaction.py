"""Who may redact: as an authorisation rule in room versions 1 and 2, as a condition for the effect in the others."""

from matrixd.core.auth.rules import AuthRule, EventForbidden
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels, level_text


def check_redaction(event: Event, powers: PowerLevels) -> None:
    """Rule 11 of v1 and v2. Raises EventForbidden. https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules"""
    # Rule 11.1: the redact level suffices for any event.
    level = powers.of(event.sender)
    if level >= powers.redact:
        return
    # Rule 11.2: without it, only events that one's own server named.
    if event.redacts is None or _domain(event.redacts) != _domain(event.event_id):
        raise EventForbidden(
            AuthRule.REDACT_LEVEL,
            f"{event.sender} has level {level_text(level)}, to redact {event.redacts} needs level {powers.redact}",
        )


def redaction_applies(redaction: Event, target: Event, powers: PowerLevels) -> bool:
    """Whether an accepted redaction takes effect on its target, once the server has both.

    `powers` are the levels in the state before the redaction. Until this is true, clients do not get to see the
    redaction. In v1 and v2 the authorisation rules have already decided.
    https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
    """
    if redaction.redacts != target.event_id or redaction.room_id != target.room_id:
        return False
    if redaction.version.auth.redaction_rule:
        return True
    return redaction.sender_domain == target.sender_domain or powers.of(redaction.sender) >= powers.redact


def _domain(event_id: str) -> str:
    # What is redacted may be any string: an ID without a domain is nobody's.
    return event_id.partition(":")[2]
