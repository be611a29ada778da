"""Authorisation: whether an event may be part of a room. https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules

Three steps, of which only the second does input or output, and it is not done here:

- plan: `auth_types_for_event` says which state an event names in its ``auth_events``, `state_for_check` which state
  decides about it;
- load: the caller gets these events, from the state that the check is about;
- decide: `check_state_independent` once per event, `check_state_dependent` once per state. Both raise EventForbidden,
  which names the rule.

One file per subject. Rule numbers in the comments are those of room version 12 unless another version is named
(https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules).
"""

from matrixd.core.auth.check import check_state_dependent, check_state_independent
from matrixd.core.auth.membership import membership_of
from matrixd.core.auth.plan import auth_types_for_event, state_for_check
from matrixd.core.auth.redaction import redaction_applies
from matrixd.core.auth.rules import AuthRule, EventForbidden

__all__ = [
    "AuthRule",
    "EventForbidden",
    "auth_types_for_event",
    "check_state_dependent",
    "check_state_independent",
    "membership_of",
    "redaction_applies",
    "state_for_check",
]
