"""core/push/evaluation and fanout: which rule wins, and that nobody is forgotten by the fast path."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.core.push.actions import NOTHING, Actions
from matrixd.core.push.conditions import EventView, RoomContext
from matrixd.core.push.evaluation import DEFAULT, CompiledRuleset
from matrixd.core.push.fanout import default_outcome, room_outcome
from matrixd.core.push.rules import PushRule, RuleKind, parse_rule
from matrixd.core.push.ruleset import Ruleset
from tests.unit.core.room_factory import ALICE, BOB, RoomFactory

ROOM = RoomFactory()
ME = "@me:one.example"
ME_TOO = "@ME:one.example"
STAR = "@*:one.example"


def context(member_count: int = 3, names: Mapping[str, str] | None = None) -> RoomContext:
    return RoomContext(member_count, PowerLevels(ROOM.create, None), (names or {}).get)


def view(event: Event, member_count: int = 3) -> EventView:
    return EventView(event, context(member_count))


def message(sender: str = BOB, event_type: str = "m.room.message", /, **content: Any) -> Event:
    return ROOM.event(event_type, sender, {"msgtype": "m.text", "body": "hello", **content})


NOTIFY = Actions.of(["notify"])
SOUND = Actions.of(["notify", {"set_tweak": "sound", "value": "default"}])
RING = Actions.of(["notify", {"set_tweak": "sound", "value": "ring"}])
HIGHLIGHT = Actions.of(["notify", {"set_tweak": "highlight"}])
MENTION = Actions.of(["notify", {"set_tweak": "sound", "value": "default"}, {"set_tweak": "highlight"}])


class TestDefaults:
    @pytest.mark.parametrize(
        ("event", "members", "expected"),
        [
            (message(), 3, NOTIFY),
            (message(), 2, SOUND),
            (message(BOB, "m.room.encrypted"), 3, NOTIFY),
            (message(BOB, "m.room.encrypted"), 2, SOUND),
            (message(BOB, "m.call.invite"), 2, RING),
            (message(BOB, "m.reaction"), 2, NOTHING),
            (message(BOB, "org.example.other"), 2, NOTHING),
            (message(msgtype="m.notice"), 2, NOTHING),
            (message(**{"m.mentions": {"user_ids": [ME]}}), 3, MENTION),
            (message(**{"m.mentions": {"user_ids": [ME_TOO]}}), 3, NOTIFY),
            (message(ALICE, **{"m.mentions": {"room": True}}), 3, HIGHLIGHT),
            (message(BOB, **{"m.mentions": {"room": True}}), 3, NOTIFY),
            (message(**{"m.relates_to": {"rel_type": "m.replace", "event_id": "$x"}}), 3, NOTHING),
            (message(**{"m.relates_to": {"rel_type": "m.thread", "event_id": "$x"}}), 3, NOTIFY),
            (ROOM.event("m.room.tombstone", ALICE, {}, ""), 3, HIGHLIGHT),
            (ROOM.event("m.room.tombstone", ALICE, {}, "x"), 3, NOTHING),
            (ROOM.event("m.room.server_acl", ALICE, {}, ""), 3, NOTHING),
            (ROOM.member(ALICE, "invite", ME), 3, SOUND),
            (ROOM.member(ALICE, "invite", ME_TOO), 3, NOTHING),
            (ROOM.member(ALICE, "ban", ME), 3, NOTHING),
            (message(ME), 3, NOTHING),
        ],
    )
    def test_outcome(self, event: Event, members: int, expected: Actions) -> None:
        assert DEFAULT.evaluate(view(event, members), ME) == expected

    def test_master_switches_everything_off(self) -> None:
        ruleset = CompiledRuleset.of(Ruleset().set_enabled(RuleKind.OVERRIDE, ".m.rule.master", True))
        assert ruleset.evaluate(view(message(**{"m.mentions": {"user_ids": [ME]}})), ME) == NOTHING

    def test_an_id_with_a_star_is_not_a_pattern(self) -> None:
        assert DEFAULT.evaluate(view(ROOM.member(ALICE, "invite", ME)), STAR) == NOTHING


def tweak(sound: str) -> dict[str, Any]:
    return {"actions": ["notify", {"set_tweak": "sound", "value": sound}]}


class TestOrder:
    RULES: tuple[tuple[RuleKind, str, dict[str, Any]], ...] = (
        (RuleKind.UNDERRIDE, "underride", {}),
        (RuleKind.SENDER, BOB, {}),
        (RuleKind.ROOM, ROOM.room_id, {}),
        (RuleKind.CONTENT, "content", {"pattern": "hel*"}),
        (RuleKind.OVERRIDE, "override", {"conditions": []}),
    )

    @pytest.mark.parametrize("count", range(1, 6))
    def test_kinds(self, count: int) -> None:
        """Each kind is stronger than those before it."""
        ruleset = Ruleset()
        for kind, rule_id, body in self.RULES[:count]:
            ruleset = ruleset.put(kind, parse_rule(kind, rule_id, {**tweak(kind.value), **body}))
        assert CompiledRuleset.of(ruleset).evaluate(view(message()), ME).tweaks == {
            "sound": self.RULES[count - 1][0].value
        }

    def test_the_more_important_wins(self) -> None:
        ruleset = Ruleset()
        for sound in ("time", "tea"):
            rule = parse_rule(RuleKind.CONTENT, sound, {**tweak(sound), "pattern": sound})
            ruleset = ruleset.put(RuleKind.CONTENT, rule)
        compiled = CompiledRuleset.of(ruleset)
        assert compiled.evaluate(view(message(body="It's time for tea")), ME).tweaks == {"sound": "tea"}

    def test_disabled_and_unrecognised_rules_never_match(self) -> None:
        unknown = parse_rule(RuleKind.OVERRIDE, "o", {**tweak("o"), "conditions": [{"kind": "new"}]})
        ruleset = Ruleset().put(RuleKind.OVERRIDE, unknown)
        for kind, rule_id, body in self.RULES:
            ruleset = ruleset.put(kind, parse_rule(kind, rule_id, {**tweak("x"), **body}))
            ruleset = ruleset.set_enabled(kind, rule_id, False)
        assert CompiledRuleset.of(ruleset).evaluate(view(message()), ME) == NOTIFY


class TestAffects:
    def test_affects(self) -> None:
        muted = Ruleset().put(RuleKind.ROOM, PushRule(ROOM.room_id, NOTHING))
        assert CompiledRuleset.of(muted).affects(ROOM.room_id)
        assert not CompiledRuleset.of(muted).affects("!other:x")
        assert not CompiledRuleset.of(Ruleset()).affects(ROOM.room_id)
        assert CompiledRuleset.of(muted.put(RuleKind.SENDER, PushRule(BOB, NOTHING))).affects("!other:x")
        changed_default = Ruleset().set_enabled(RuleKind.OVERRIDE, ".m.rule.master", True)
        assert CompiledRuleset.of(changed_default).affects("!other:x")


USERS = (ALICE, BOB, ME, ME_TOO, STAR, "@quiet:one.example", "@other:one.example")
ABSENT = "@remote:elsewhere.example"

users = st.sampled_from((*USERS, ABSENT))
actions = st.sampled_from([[], ["notify"], ["dont_notify"], ["notify", {"set_tweak": "highlight"}]])
bodies = st.sampled_from(["hello", "cake for me", "a piece of CAKE", ""])
contents = st.fixed_dictionaries(
    {},
    optional={
        "body": bodies,
        "msgtype": st.sampled_from(["m.text", "m.notice"]),
        "membership": st.sampled_from(["invite", "join", "leave"]),
        "m.mentions": st.fixed_dictionaries(
            {}, optional={"user_ids": st.lists(users | st.just(3), max_size=4), "room": st.booleans()}
        ),
        "m.relates_to": st.fixed_dictionaries({"rel_type": st.sampled_from(["m.replace", "m.thread"])}),
    },
)
events = st.builds(
    lambda event_type, sender, content, state_key: ROOM.event(event_type, sender, content, state_key),
    st.sampled_from(["m.room.message", "m.room.member", "m.room.encrypted", "m.reaction", "m.room.tombstone", "x.y"]),
    users,
    contents,
    st.none() | st.just("") | users,
)
conditions = st.sampled_from(
    [
        {"kind": "event_match", "key": "content.body", "pattern": "cake"},
        {"kind": "event_match", "key": "sender", "pattern": "@*:one.example"},
        {"kind": "room_member_count", "is": ">2"},
        {"kind": "contains_display_name"},
        {"kind": "unheard.of"},
    ]
)


@st.composite
def rulesets(draw: st.DrawFn) -> Ruleset:
    ruleset = Ruleset()
    for kind in draw(st.lists(st.sampled_from(list(RuleKind)), max_size=4)):
        rule_id = {RuleKind.ROOM: st.sampled_from([ROOM.room_id, "!other:x"]), RuleKind.SENDER: users}.get(
            kind, st.sampled_from(["a", "b"])
        )
        body = {"actions": draw(actions), "conditions": draw(st.lists(conditions, max_size=2)), "pattern": "cake"}
        ruleset = ruleset.put(kind, parse_rule(kind, draw(rule_id), body))
    if draw(st.booleans()):
        default = draw(st.sampled_from([".m.rule.master", ".m.rule.is_user_mention", ".m.rule.suppress_notices"]))
        ruleset = ruleset.set_enabled(RuleKind.OVERRIDE, default, draw(st.booleans()))
    return ruleset


class TestRoomOutcome:
    @settings(max_examples=200)
    @given(
        events,
        st.integers(1, 4),
        st.dictionaries(st.sampled_from(USERS), rulesets(), max_size=4),
        st.sets(st.sampled_from(USERS), max_size=2),
    )
    def test_equals_asking_everybody(
        self, event: Event, members: int, own_rules: dict[str, Ruleset], ignored_by: set[str]
    ) -> None:
        room = context(members, {ME: "cake", BOB: "Bob"})
        compiled = {user: CompiledRuleset.of(ruleset) for user, ruleset in own_rules.items()}
        outcome = room_outcome(
            event,
            room,
            recipients=frozenset(USERS),
            rulesets={user: rules for user, rules in compiled.items() if rules.affects(event.room_id)},
            ignored_by=ignored_by,
        )
        for user in USERS:
            slow = CompiledRuleset.of(own_rules.get(user, Ruleset())).evaluate(EventView(event, room), user)
            if user in ignored_by and (not event.is_state or event.membership == "invite"):
                slow = NOTHING
            assert outcome.of(user).has_effect_of(slow), user
        assert ABSENT not in outcome.differing
        assert event.sender not in outcome.differing
        assert all(not differing.has_effect_of(outcome.default) for differing in outcome.differing.values())

    def test_nobody_is_asked_in_a_large_room(self) -> None:
        """`recipients` is only asked about those whom the event names."""
        asked: list[object] = []

        class Members:
            def __contains__(self, user_id: object) -> bool:
                asked.append(user_id)
                return True

        event = message(**{"m.mentions": {"user_ids": [ME, BOB]}})
        outcome = room_outcome(event, context(1000), recipients=Members(), rulesets={})
        assert sorted(map(str, asked)) == sorted([ME, BOB])
        assert outcome.default == NOTIFY
        assert outcome.differing == {ME: MENTION}
        assert outcome.of(BOB) == NOTHING
        assert outcome.of(ALICE) == NOTIFY

    def test_room_mention_is_the_default_for_all(self) -> None:
        event = message(ALICE, **{"m.mentions": {"room": True}})
        outcome = room_outcome(event, context(), recipients=frozenset(USERS), rulesets={})
        assert outcome.default.highlight
        assert not outcome.differing

    def test_default_outcome(self) -> None:
        assert default_outcome(view(message())) == NOTIFY
