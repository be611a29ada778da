"""What a user may see of a timeline, told from intervals, agrees with the rules asked event by event."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.event import Event
from matrixd.core.streams import MAX_POSITION
from matrixd.core.visibility import HistoryVisibility, Standpoint, user_may_see
from matrixd.queries.event_visibility import MAX_PIECES, Viewer, VisibleHistory
from matrixd.storage.room_state import Interval
from matrixd.storage.stored_event import StoredEvent
from tests.unit.core.room_factory import ALICE, BOB, RoomFactory

ROOM = RoomFactory()
VIEWER = Viewer(ALICE, 1, None, frozenset({BOB}))

MEMBERSHIPS = st.sampled_from(["join", "invite", "leave", "ban"])
VISIBILITIES = st.sampled_from([value.value for value in HistoryVisibility])
CHANGES = st.lists(st.one_of(MEMBERSHIPS, VISIBILITIES, st.just("message")), max_size=30)


def changed(change: str) -> Event:
    if change == "message":
        return ROOM.event("m.room.message", ALICE)
    if change in ("join", "invite", "leave", "ban"):
        return ROOM.member(ALICE, change)
    return ROOM.event("m.room.history_visibility", ALICE, {"history_visibility": change}, "")


def intervals(timeline: list[Event], since: int) -> list[Interval]:
    """What the store gives: the events of one key follow each other without gaps."""
    found = []
    for index, event in enumerate(timeline):
        if event.is_state:
            later = (n for n, other in enumerate(timeline) if n > index and other.is_state and other.key == event.key)
            end = next(later, None)
            if end is None or end + 1 >= since:
                found.append(Interval(index + 1, None if end is None else end + 1, event))
    return found


def placed(event: Event, pos: int) -> StoredEvent:
    return StoredEvent(pos, 1, pos, 0, None, None, 1, None, None, event)


def naive(timeline: list[Event], index: int) -> bool:
    visibility, membership = HistoryVisibility.SHARED, None
    for event in timeline[:index]:
        if event.type == "m.room.history_visibility":
            visibility = HistoryVisibility(event.content["history_visibility"])
        membership = event.membership or membership
    later = any(event.membership == "join" for event in timeline[index + 1 :])
    return user_may_see(timeline[index], Standpoint(ALICE, visibility, membership, later))


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.integers(1, 30))
def test_the_answer_from_intervals_is_that_of_the_rules(changes: list[str], since: int) -> None:
    timeline = [changed(change) for change in changes]
    history = VisibleHistory(VIEWER, since, None, intervals(timeline, since))
    for index, event in enumerate(timeline):
        if index + 1 >= since:
            assert history.allows(placed(event, index + 1)) == naive(timeline, index)


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.integers(1, 30))
def test_pieces_hold_the_messages_that_may_be_seen(changes: list[str], since: int) -> None:
    timeline = [changed(change) for change in changes]
    history = VisibleHistory(VIEWER, since, None, intervals(timeline, since))
    pieces = history.pieces
    assert len(pieces) <= MAX_PIECES
    assert all(first <= last for first, last in pieces)
    for index, event in enumerate(timeline):
        position = index + 1
        if not event.is_state and position >= since:
            inside = any(first <= position <= last for first, last in pieces)
            assert inside == naive(timeline, index)


def test_a_member_sees_everything_and_reads_nothing() -> None:
    history = VisibleHistory.of_member(VIEWER, 10, 5)
    message = ROOM.event("m.room.message", ALICE)
    assert history.allows(placed(message, 10))
    assert history.membership_at(placed(message, 10)) == "join"
    assert history.pieces == ((-MAX_POSITION, MAX_POSITION),)


def test_what_has_no_place_or_was_refused_or_is_of_someone_ignored_is_not_shown() -> None:
    history = VisibleHistory.of_member(VIEWER, 1, 0)
    message, state = ROOM.event("m.room.message", BOB), ROOM.event("m.room.name", BOB, {}, "")
    own = ROOM.event("m.room.message", ALICE)

    def stored(event: Event, pos: int | None = 3, verdict: str | None = None) -> StoredEvent:
        return StoredEvent(1, 1, pos, 0, verdict, None, 1, None, None, event)

    assert history.may_see(stored(own))
    assert history.may_see(stored(state))
    assert not history.may_see(stored(message))
    assert not history.may_see(stored(own, pos=None))
    assert not history.may_see(stored(own, verdict="soft_failed"))
    assert history.filtered([stored(own), stored(message)])[0].event is own
