"""When servers' copies of a room count as the same."""

from __future__ import annotations

from tests.support.federation.copies import Copy, StateKey, StoredMark, differences, missing

HERE, THERE = "here", "there"
TOPIC: StateKey = ("m.room.topic", "")


def _mark(pos: int | None = 1, verdict: str | None = None) -> StoredMark:
    return StoredMark("m.room.message", "@alice:here", None, pos, verdict, 7)


def _copy(
    name: str, events: dict[str, StoredMark], state: dict[StateKey, str] | None = None, end: str = "$a", *gaps: str
) -> Copy:
    return Copy(name, events, state or {}, frozenset([end]), frozenset(gaps))


def test_the_same_copies_do_not_differ() -> None:
    assert differences([_copy(HERE, {"$a": _mark(5)}), _copy(THERE, {"$a": _mark(900)})]) == []


def test_an_event_that_one_accepted_must_be_everywhere() -> None:
    here = _copy(HERE, {"$a": _mark(), "$b": _mark()})
    (told,) = differences([here, _copy(THERE, {"$a": _mark()})])
    assert told.startswith("there has $b (m.room.message  of @alice:here, depth 7) as None")
    assert differences([here, _copy(THERE, {"$a": _mark()})], frozenset(["$b"])) == []


def test_a_soft_failed_event_is_there_and_a_rejected_one_or_an_outlier_is_not() -> None:
    here = _copy(HERE, {"$a": _mark()})
    assert differences([here, _copy(THERE, {"$a": _mark(None, "soft_failed")})]) == []
    assert len(differences([here, _copy(THERE, {"$a": _mark(None, "rejected")})])) == 1
    assert len(differences([here, _copy(THERE, {"$a": _mark(None)})])) == 1


def test_a_redaction_waits_for_what_it_redacts_and_only_for_that() -> None:
    here = _copy(HERE, {"$r": _mark(), "$a": _mark()})
    waiting = StoredMark("m.room.redaction", "@alice:here", None, None, "waiting", 7, None, "$a")
    assert differences([here, _copy(THERE, {"$r": waiting, "$a": _mark(None, "soft_failed")})]) == []
    assert len(differences([here, _copy(THERE, {"$r": waiting, "$a": _mark()})])) == 1
    # The event that it redacts is missing, too.
    assert len(differences([here, _copy(THERE, {"$r": waiting})])) == 2


def test_what_must_be_there_may_be_nowhere() -> None:
    copies = [_copy(HERE, {}), _copy(THERE, {})]
    assert missing(copies, frozenset(["$lost"])) == ["here has $lost as None", "there has $lost as None"]


def test_state_ends_and_gaps_differ() -> None:
    events = {"$a": _mark(), "$b": _mark()}
    here, there = _copy(HERE, events, {TOPIC: "$a"}), _copy(THERE, events, {TOPIC: "$b"}, "$b", "$c")
    assert differences([here, there]) == [
        "state ('m.room.topic', ''): here $a, there $b",
        "here ends in ['$a']",
        "there ends in ['$b']",
        "there waits for ['$c']",
    ]
    assert differences([here, _copy(THERE, events)]) == ["state ('m.room.topic', ''): here $a, there None"]
