"""The one event that another server has sent us to take, or to sign: a membership event of a user."""

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.services.receiving.pdu_checks import CheckedPdus


def sent_event(checked: CheckedPdus, event_id: str) -> Event:
    """The event, which the request's path names. Raises M_BAD_JSON, M_INVALID_PARAM, M_FORBIDDEN if it is not signed.

    "would return a `M_BAD_JSON` error": https://spec.matrix.org/v1.19/rooms/v6/#canonical-json
    """
    if checked.unsigned:
        raise MatrixError(403, "M_FORBIDDEN", next(iter(checked.refused.values())))
    if not checked.events:
        reason = next(iter(checked.refused.values()), "The body is no event of this room.")
        raise MatrixError(400, "M_BAD_JSON", reason)
    event = checked.events[0]
    if event.event_id != event_id:
        raise MatrixError(400, "M_INVALID_PARAM", f"The event in the body has the ID {event.event_id}.")
    return event
