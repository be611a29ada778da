"""One event's outcome for all members of a room, without asking each of them. The package's docstring says why."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.core.push.actions import NOTHING, Actions
from matrixd.core.push.conditions import EventView, RoomContext
from matrixd.core.push.evaluation import DEFAULT, CompiledRuleset


@dataclass(frozen=True, slots=True)
class RoomOutcome:
    """What one event means to the local users who get it.

    `default` holds for everyone except the sender, who is never notified, and those in `differing`: user ID to the
    user's own outcome, only where it is another one.
    """

    sender: str
    default: Actions
    differing: Mapping[str, Actions]

    def of(self, user_id: str) -> Actions:
        """The outcome of one user who gets the event."""
        return NOTHING if user_id == self.sender else self.differing.get(user_id, self.default)


def default_outcome(view: EventView) -> Actions:
    """The outcome for a member with the default rules whom the event does not name."""
    return DEFAULT.evaluate(view, None)


def room_outcome(
    event: Event,
    room: RoomContext,
    *,
    recipients: Container[str],
    rulesets: Mapping[str, CompiledRuleset],
    ignored_by: Collection[str] = (),
) -> RoomOutcome:
    """The outcome of an event for all local users who get it. Takes as long as there are users who may differ.

    `recipients`: the room's local joined members and, if the event invites a local user, that user; it is only asked
    whether it contains a user. `rulesets`: the rules of those recipients who have rules of their own; leave out those
    whose rules do not affect the room (`CompiledRuleset.affects`). `ignored_by`: the recipients who ignore the sender.
    """
    view = EventView(event, room)
    default = default_outcome(view)
    outcomes = {user_id: ruleset.evaluate(view, user_id) for user_id, ruleset in rulesets.items()}
    for user_id in view.named_users:
        if user_id not in rulesets and user_id in recipients:
            outcomes[user_id] = DEFAULT.evaluate(view, user_id)
    if ignored_by and not _reaches_those_who_ignore(event):
        outcomes.update(dict.fromkeys(ignored_by, NOTHING))
    outcomes.pop(event.sender, None)
    return RoomOutcome(
        event.sender,
        default,
        {user_id: actions for user_id, actions in outcomes.items() if not actions.has_effect_of(default)},
    )


def _reaches_those_who_ignore(event: Event) -> bool:
    # "The client will no longer receive events sent by that user, with the exception of state events", but "servers
    # MUST NOT send room invites from ignored users": https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
    return event.is_state and event.membership != "invite"
