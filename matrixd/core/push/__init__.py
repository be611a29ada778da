"""Push rules: which events notify whom, and how.

https://spec.matrix.org/v1.19/client-server-api/#push-notifications

`actions` what a rule does, `conditions` when it applies, `defaults` the server-default rules, `ruleset` one user's
rules and how the API changes them, `evaluation` one user's outcome for one event, `fanout` everybody's.

How unread counts stay cheap
----------------------------

Nearly all members of a room have nothing but the default rules, and the default rules name a user in two places only:
`.m.rule.invite_for_me` and `.m.rule.is_user_mention`. So for one event there is ONE outcome for all members with
default rules whom the event does not name (an `@room` mention or a tombstone is part of it: it is the same for all).
`fanout.room_outcome` evaluates that once, and then only those members who may differ:

- whom the event names: the target of an invite, the users in `m.mentions`;
- who have rules of their own that can matter in this room (`CompiledRuleset.affects`);
- who ignore the sender.

The answer, `RoomOutcome`, is the default outcome and explicit entries for those whose outcome really is another. Its
size does not depend on the number of members, and neither does the time to find it. What the store keeps is
the same: per room (and thread) a running count of events whose default outcome notifies, and of those that highlight;
rows only for the explicit entries. A member's unread count is then

    default count at the end - default count at the read position + the member's own rows after that position

where an explicit entry counts as the difference between its outcome and the default one. The sender is in neither:
sending moves the sender's read position past the event, which is what clears it (specification: "when the user
updates their read receipt (either by using the API or by sending an event)").

Whoever gets the first rule of their own while something is unread keeps what was counted: outcomes are decided when
an event arrives, with the rules of that moment.
"""
