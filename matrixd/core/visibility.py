"""History visibility: which events of a room a user, or a server, may see.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility

What counts is the state of the room when the event was sent. An event that itself changes the visibility, or the
membership in question, is visible when the state before *or* after it makes it so.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from matrixd.core import content
from matrixd.core.event import Event


class HistoryVisibility(Enum):
    """The values of ``m.room.history_visibility``."""

    WORLD_READABLE = "world_readable"
    SHARED = "shared"
    INVITED = "invited"
    JOINED = "joined"


def history_visibility(event: Event | None) -> HistoryVisibility:
    """What an ``m.room.history_visibility`` event says; ``shared`` without one, or when it is not understood.

    https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-6
    """
    return HistoryVisibility(content.history_visibility(event))


@dataclass(frozen=True, slots=True)
class Standpoint:
    """How a user stands to an event: what the decision about one event and one user needs."""

    user_id: str
    #: The visibility in the state before the event.
    visibility: HistoryVisibility
    #: The user's membership in the state before the event; None when the state knows nothing of the user.
    membership: str | None
    #: Whether the user joined at any time after the event, be it that the user is joined now or has left since.
    joined_later: bool


def user_may_see(event: Event, standpoint: Standpoint) -> bool:
    """Whether the user may see the event.

    https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-6
    """
    visibilities, after = _visibilities(event, standpoint.visibility), _membership_after(event, standpoint.user_id)
    memberships = {standpoint.membership, after} if after is not None else {standpoint.membership}
    return history_is_visible(visibilities, memberships, standpoint.joined_later)


def history_is_visible(
    visibilities: Collection[HistoryVisibility], memberships: Collection[str | None], joined_later: bool
) -> bool:
    """Whether someone may see what was sent under one of the visibilities while having one of the memberships.

    https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-6
    """
    # Rule 1: the world may read.
    if HistoryVisibility.WORLD_READABLE in visibilities:
        return True
    # Rule 2: the user was in the room …
    if "join" in memberships:
        return True
    # Rule 3: … or came later, and members share the history …
    if HistoryVisibility.SHARED in visibilities and joined_later:
        return True
    # Rule 4: … or was invited, and that suffices. Rule 5: nobody else may.
    return HistoryVisibility.INVITED in visibilities and "invite" in memberships


@dataclass(frozen=True, slots=True)
class ServerStandpoint:
    """How a server stands to an event: what the decision about one event and one server needs."""

    server_name: str
    #: The visibility in the state before the event.
    visibility: HistoryVisibility
    #: The memberships, in the state before the event, of the server's users.
    memberships: Collection[str]
    #: Whether a user of the server is in the room, or joined it at any time after the event.
    joined_later: bool


def server_may_see(event: Event, standpoint: ServerStandpoint) -> bool:
    """Whether a server may be given the event: whether one of its users may see it.

    The specification states the rules for users; a server that asks acts for its own.
    https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
    """
    visibilities, memberships = _visibilities(event, standpoint.visibility), set(standpoint.memberships)
    target = event.state_key or ""
    if target.partition(":")[2] == standpoint.server_name:
        after = _membership_after(event, target)
        memberships |= {after} if after is not None else set()
    return history_is_visible(visibilities, memberships, standpoint.joined_later)


def _visibilities(event: Event, before: HistoryVisibility) -> Collection[HistoryVisibility]:
    if event.type == "m.room.history_visibility" and event.state_key == "":
        return {before, history_visibility(event)}
    return (before,)


def _membership_after(event: Event, user_id: str) -> str | None:
    """The membership that the event gives the user, None when it is about something else."""
    return event.membership if event.state_key == user_id else None
