"""The rule for ``m.room.aliases`` of room versions 1 to 5."""

from matrixd.core.auth.rules import AuthRule, EventForbidden
from matrixd.core.event import Event


def check_aliases(event: Event) -> None:
    """Rule 4 of v1 to v5: every server lists its own aliases, and needs neither membership nor power to do so.

    Raises EventForbidden. https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules
    """
    # Rule 4.1: it is a state event.
    if event.state_key is None:
        raise EventForbidden(AuthRule.ALIASES_WITHOUT_STATE_KEY, f"m.room.aliases of {event.sender} has no state_key")
    # Rule 4.2: its state key is the sender's server.
    if event.state_key != event.sender_domain:
        raise EventForbidden(
            AuthRule.ALIASES_OF_OTHER_SERVER, f"{event.sender} cannot set the aliases of {event.state_key}"
        )
