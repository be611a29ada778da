"""How far a join has come."""

import enum


class State(enum.Enum):
    """The states, in their order; the values are stored."""

    MADE = "made"
    """Wanted. No server has answered yet; after a restart servers are asked anew."""
    SENT = "sent"
    """A server has taken the join, and its answer is stored as it came. Next: check it."""
    STORED = "stored"
    """The answer is checked, its events are stored, nothing of it shows. Next: make the room usable, in one commit."""
    FILLING = "filling"
    """The user is in the room; not all members are known yet."""
    COMPLETE = "complete"
    """All is known."""
    ABANDONED = "abandoned"
    """Given up: the user is not in the room."""


#: To be gone on with after a restart before the user is in the room.
JOINING = (State.MADE, State.SENT, State.STORED)
#: Over: kept for a while to be looked at.
OVER = (State.COMPLETE, State.ABANDONED)
