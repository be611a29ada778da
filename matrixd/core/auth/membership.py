"""The rules for ``m.room.member``: who may join, invite, leave, kick, ban, unban and knock."""

from collections.abc import Container, Mapping

from matrixd.core import content
from matrixd.core.auth.rules import AuthRule, EventForbidden
from matrixd.core.auth.third_party_invite import check_third_party_invite
from matrixd.core.event import Event
from matrixd.core.event_signing import authorising_server
from matrixd.core.power import PowerLevels, is_creator, level_text

State = Mapping[tuple[str, str], Event]

_AUTHORISER = "join_authorised_via_users_server"


def membership_of(state: State, user_id: str) -> str:
    """The user's membership in a state; ``leave`` when the state knows nothing of the user.

    https://spec.matrix.org/v1.19/client-server-api/#mroommember
    """
    return content.membership(state.get(("m.room.member", user_id)))


def check_authoriser_signature(event: Event, signed_by: Container[str]) -> None:
    """Rule 5.2 (v8 and later): whoever vouches for a restricted join has signed it. Raises EventForbidden.

    `signed_by` are the servers whose signature on the event was verified.
    https://spec.matrix.org/v1.19/rooms/v8/#authorisation-rules
    """
    if event.type != "m.room.member" or not event.version.auth.restricted or _AUTHORISER not in event.content:
        return
    server_name = authorising_server(event)
    if server_name is None or server_name not in signed_by:
        raise EventForbidden(
            AuthRule.JOIN_AUTHORISER_NOT_SIGNED,
            f"the server of the user in {_AUTHORISER} has not signed the membership of {event.state_key}",
        )


def check_membership(event: Event, state: State, powers: PowerLevels) -> None:
    """Rule 5. Raises EventForbidden. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules"""
    # Rule 5.1: the event says whose membership becomes what.
    target = event.state_key
    if target is None or "membership" not in event.content:
        raise EventForbidden(AuthRule.MEMBER_INCOMPLETE, "m.room.member lacks state_key or membership")
    match event.membership:
        case "join":
            _check_join(event, target, state, powers)
        case "invite":
            _check_invite(event, target, state, powers)
        case "leave":
            _check_leave(event, target, state, powers)
        case "ban":
            _check_ban(event, target, state, powers)
        # Rule 4.6 of v7: before, nobody could knock.
        case "knock" if event.version.auth.knock:
            _check_knock(event, target, state)
        # Rule 5.8: nothing else is a membership.
        case _:
            raise EventForbidden(AuthRule.MEMBER_UNKNOWN_MEMBERSHIP, f"the membership of {target} is not a known one")


def _check_join(event: Event, target: str, state: State, powers: PowerLevels) -> None:
    # Rule 5.3.1: the creator enters the empty room.
    create = powers.create
    if event.prev_events == (create.event_id,) and _opens_room(create, target):
        return
    # Rule 5.3.2: everybody joins for themselves.
    if event.sender != target:
        raise EventForbidden(AuthRule.JOIN_FOR_OTHER_USER, f"{event.sender} cannot join for {target}")
    # Rule 5.3.3: a ban holds.
    membership = membership_of(state, target)
    if membership == "ban":
        raise EventForbidden(AuthRule.JOIN_BANNED, f"{target} is banned from {event.room_id}")
    _check_join_rule(event, target, membership, state, powers)


def _opens_room(create: Event, user_id: str) -> bool:
    # Additional creators enter like everybody else: rule 5.3.1 names the sender of the creation.
    return create.sender == user_id if create.version.auth.creator_is_sender else is_creator(create, user_id)


def _check_join_rule(event: Event, target: str, membership: str, state: State, powers: PowerLevels) -> None:
    rules = event.version.auth
    admitted = membership in ("invite", "join")
    join_rule = _join_rule(state)
    # Rule 5.3.4: with an invitation. Without m.room.join_rules a room is as closed as one can be.
    if join_rule == "invite" or (join_rule == "knock" and rules.knock):
        if not admitted:
            raise EventForbidden(AuthRule.JOIN_NOT_INVITED, f"{target} is not invited to {event.room_id}")
    # Rule 5.3.5: with an invitation, or when someone who could invite vouches.
    elif (join_rule == "restricted" and rules.restricted) or (
        join_rule == "knock_restricted" and rules.knock_restricted
    ):
        if not admitted:
            _check_authoriser(event, target, state, powers)
    # Rules 5.3.6 and 5.3.7: everybody may enter a public room, nobody one whose rule is not understood.
    elif join_rule != "public":
        raise EventForbidden(AuthRule.JOIN_UNKNOWN_RULE, f"nobody can join {event.room_id}: its join rule is not known")


def _join_rule(state: State) -> str | None:
    """The join rule, ``invite`` when the room has none, None when it is not a string: then nobody may join."""
    event = state.get(("m.room.join_rules", ""))
    join_rule = "invite" if event is None else event.content.get("join_rule", "invite")
    return join_rule if isinstance(join_rule, str) else None


def _check_authoriser(event: Event, target: str, state: State, powers: PowerLevels) -> None:
    # Rule 5.3.5.2: the one who vouches is in the room and could have invited.
    authoriser = content.authorised_via(event)
    if authoriser is None:
        raise EventForbidden(
            AuthRule.JOIN_NOT_AUTHORISED, f"{target} is not invited to {event.room_id}, and nobody vouches for the join"
        )
    level = powers.of(authoriser)
    if membership_of(state, authoriser) != "join" or level < powers.invite:
        raise EventForbidden(
            AuthRule.JOIN_NOT_AUTHORISED,
            f"{authoriser} vouches for the join of {target}, but is not in {event.room_id} "
            f"or has with level {level_text(level)} less than the invite level {powers.invite}",
        )


def _check_invite(event: Event, target: str, state: State, powers: PowerLevels) -> None:
    # Rule 5.4.1: an invite of a third-party identifier is fulfilled under its own conditions.
    if "third_party_invite" in event.content:
        check_third_party_invite(event, state)
        return
    # Rule 5.4.2: members invite …
    check_sender_joined(event, state)
    # Rule 5.4.3: … those who are not in the room and not banned …
    membership = membership_of(state, target)
    if membership in ("join", "ban"):
        raise EventForbidden(AuthRule.INVITE_ALREADY_MEMBER, f"{target} cannot be invited: membership is {membership}")
    # Rules 5.4.4 and 5.4.5: … with the level for it.
    level = powers.of(event.sender)
    if level < powers.invite:
        raise EventForbidden(AuthRule.INVITE_LEVEL, _short(event.sender, level, "to invite", powers.invite))


def _check_leave(event: Event, target: str, state: State, powers: PowerLevels) -> None:
    membership = membership_of(state, target)
    # Rule 5.5.1: everybody may leave, decline an invite and (from v7 on) take back a knock.
    if event.sender == target:
        if membership in ("invite", "join") or (membership == "knock" and event.version.auth.knock):
            return
        raise EventForbidden(AuthRule.LEAVE_NOT_MEMBER, f"{target} cannot leave: membership is {membership}")
    # Rule 5.5.2: only members send others away.
    check_sender_joined(event, state)
    level = powers.of(event.sender)
    # Rule 5.5.3: whoever unbans could have banned.
    if membership == "ban" and level < powers.ban:
        raise EventForbidden(AuthRule.UNBAN_LEVEL, _short(event.sender, level, f"to unban {target}", powers.ban))
    # Rules 5.5.4 and 5.5.5: to kick, and to unban, takes the kick level and more power than the target has.
    if level < powers.kick:
        raise EventForbidden(AuthRule.KICK_LEVEL, _short(event.sender, level, f"to kick {target}", powers.kick))
    _check_above_target(event, AuthRule.KICK_TARGET_LEVEL, level, target, powers)


def _check_ban(event: Event, target: str, state: State, powers: PowerLevels) -> None:
    # Rule 5.6.1: only members ban.
    check_sender_joined(event, state)
    # Rules 5.6.2 and 5.6.3: with the ban level, and more power than the target has.
    level = powers.of(event.sender)
    if level < powers.ban:
        raise EventForbidden(AuthRule.BAN_LEVEL, _short(event.sender, level, f"to ban {target}", powers.ban))
    _check_above_target(event, AuthRule.BAN_TARGET_LEVEL, level, target, powers)


def _check_knock(event: Event, target: str, state: State) -> None:
    # Rule 5.7.1: the room takes knocks.
    join_rule = _join_rule(state)
    if join_rule != "knock" and not (join_rule == "knock_restricted" and event.version.auth.knock_restricted):
        raise EventForbidden(AuthRule.KNOCK_JOIN_RULE, f"{event.room_id} does not take knocks")
    # Rule 5.7.2: everybody knocks for themselves.
    if event.sender != target:
        raise EventForbidden(AuthRule.KNOCK_FOR_OTHER_USER, f"{event.sender} cannot knock for {target}")
    # Rules 5.7.3 and 5.7.4: there is no reason to knock on an open door, and no use to knock against a ban.
    membership = membership_of(state, target)
    if membership in ("ban", "invite", "join"):
        raise EventForbidden(AuthRule.KNOCK_MEMBERSHIP, f"{target} cannot knock: membership is {membership}")


def check_sender_joined(event: Event, state: State) -> None:
    """Rule 6, and the same condition inside rule 5: the sender is in the room. Raises EventForbidden."""
    membership = membership_of(state, event.sender)
    if membership != "join":
        raise EventForbidden(
            AuthRule.SENDER_NOT_JOINED, f"{event.sender} is not in {event.room_id}: membership is {membership}"
        )


def _check_above_target(event: Event, rule: AuthRule, level: float, target: str, powers: PowerLevels) -> None:
    target_level = powers.of(target)
    if target_level >= level:
        raise EventForbidden(
            rule,
            f"{event.sender} with level {level_text(level)} has no power over {target} "
            f"with level {level_text(target_level)}",
        )


def _short(user_id: str, level: float, act: str, needed: float) -> str:
    return f"{user_id} has level {level_text(level)}, {act} needs level {level_text(needed)}"
