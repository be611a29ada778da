"""Events and history for other servers: forks, what must not be seen, other rooms, outliers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from matrixd.core.errors import MatrixError
from matrixd.storage import events
from matrixd.storage.rows import StateMove
from tests.contract.federation.conftest import ReadWorld, names
from tests.support.rooms import SERVER

OTHER = "other.example"
BOB = "bob:other.example"


def refused(world: ReadWorld, work: object) -> tuple[int, str]:
    with pytest.raises(MatrixError) as caught:
        world.run(work)  # type: ignore[arg-type]
    return caught.value.status, caught.value.errcode


@pytest.fixture
def room(world: ReadWorld) -> str:
    """A room with a user of another server."""
    return world.room("alice", BOB)


def test_backfill_begins_with_the_events_asked_for(world: ReadWorld, room: str) -> None:
    said = [world.send(room, "alice", str(number)) for number in range(5)]
    assert names(world.backfill(OTHER, room, said[3], limit=3)) == ["3", "2", "1"]
    whole = world.backfill(OTHER, room, said[0])
    assert names(whole)[:2] == ["0", "m.room.member"]
    assert len(whole) == 6
    assert whole[-1]["type"] == "m.room.create"
    assert all("unsigned" not in pdu and "hashes" in pdu for pdu in whole)
    assert world.backfill(OTHER, room, "$unknown") == []


def test_backfill_gives_no_events_of_other_rooms(world: ReadWorld, room: str) -> None:
    private = world.room("alice")
    secret = world.send(private, "alice", "secret")
    assert world.backfill(OTHER, room, secret) == []
    leak = world.beside(room, BOB, "leak", [secret], depth=9, state=world.state_at(world.send(room, BOB, "x")))
    assert names(world.backfill(OTHER, room, leak)) == ["leak"]
    assert refused(world, world.events.backfill(OTHER, private, [secret], 1)) == (403, "M_FORBIDDEN")
    assert refused(world, world.events.backfill(OTHER, "!unknown", [secret], 1)) == (404, "M_NOT_FOUND")


def test_backfill_of_a_fork_takes_both_branches_newest_first(world: ReadWorld, room: str) -> None:
    root = world.send(room, "alice", "root")
    left = world.send(room, "alice", "left")
    state = world.state_at(left)
    right = world.beside(room, BOB, "right", [root], depth=8, state=state, verdict="soft_failed")
    merge = world.beside(room, BOB, "merge", [left, right, "$missing"], depth=9, state=state, pos=-1)
    assert names(world.backfill(OTHER, room, merge, limit=4)) == ["merge", "right", "left", "root"]
    assert "right" not in names(world.backfill(OTHER, room, left))


def test_history_that_was_fetched_later_is_given_on(world: ReadWorld, room: str) -> None:
    newest = world.send(room, BOB, "newest")
    state = world.state_at(newest)
    first = world.beside(room, BOB, "first", [], depth=1, state=state, pos=-3)
    second = world.beside(room, BOB, "second", [first], depth=2, state=state, pos=-2)
    third = world.beside(room, BOB, "third", [second], depth=3, state=state, pos=-1)
    assert names(world.backfill(OTHER, room, third)) == ["third", "second", "first"]
    found = world.run(world.events.nearest(OTHER, room, 0, backwards=False))
    assert found["origin_server_ts"]


def test_missing_events_lie_between_the_ends(world: ReadWorld, room: str) -> None:
    said = [world.send(room, "alice", str(number)) for number in range(6)]
    assert world.missing(room, [said[1]], [said[5]]) == ["2", "3", "4"]
    assert world.missing(room, [said[1]], [said[5]], limit=2) == ["3", "4"]
    depth = world.backfill(OTHER, room, said[3], limit=1)[0]["depth"]
    assert world.missing(room, [], [said[5]], depth=depth) == ["3", "4"]
    assert world.missing(room, [], ["$unknown"]) == []
    assert world.missing(room, [], []) == []
    right = world.beside(room, BOB, "right", [said[1]], depth=depth, state=world.state_at(said[5]))
    merge = world.beside(room, BOB, "merge", [said[5], right], depth=20, state=world.state_at(said[5]))
    assert world.missing(room, [said[2]], [merge], limit=5) == ["1", "right", "3", "4", "5"]
    assert set(world.missing(room, [said[2], said[1]], [merge])) == {"3", "4", "5", "right"}


def test_what_a_server_may_not_see_is_redacted(world: ReadWorld) -> None:
    room = world.room("alice", visibility="joined")
    before = world.send(room, "alice", "before")
    world.member(room, BOB, "join")
    during = world.send(room, "alice", "during")
    world.member(room, BOB, "leave")
    after = world.send(room, "alice", "after")
    assert refused(world, world.events.backfill(OTHER, room, [after], 9)) == (403, "M_FORBIDDEN")
    world.member(room, BOB, "join")
    pdus = {pdu["depth"]: pdu for pdu in world.backfill(OTHER, room, after)}
    shown = [pdu["content"] for _, pdu in sorted(pdus.items()) if pdu["type"] == "m.room.message"]
    assert shown == [{}, {"msgtype": "m.text", "body": "during"}, {}]
    assert {before, during, after} & set(pdus[max(pdus)]["prev_events"]) == set()
    assert world.json(world.events.event(OTHER, before))["pdus"][0]["content"] == {}
    assert world.json(world.events.event(OTHER, during))["pdus"][0]["content"]["body"] == "during"


def test_invites_open_the_history_of_that_visibility(world: ReadWorld) -> None:
    room = world.room("alice", visibility="invited")
    hidden = world.send(room, "alice", "hidden")
    world.member(room, BOB, "invite", by="alice")
    open_to_guests = world.send(room, "alice", "open")
    world.member(room, BOB, "join")
    assert names(world.backfill(OTHER, room, hidden, limit=1)) == ["m.room.message"]
    assert names(world.backfill(OTHER, room, open_to_guests, limit=1)) == ["open"]


def test_a_fork_has_its_own_visibility(world: ReadWorld, room: str) -> None:
    said = world.send(room, "alice", "shared")
    shared = world.state_at(said)
    world.set_state(room, "alice", "m.room.history_visibility", {"history_visibility": "joined"})
    world.member(room, BOB, "leave")
    restricted = world.state_at(world.send(room, "alice", "later"))
    world.member(room, BOB, "join")
    on_old_branch = world.beside(room, "alice", "old branch", [said], depth=9, state=shared)
    on_new_branch = world.beside(room, "alice", "new branch", [said], depth=9, state=restricted)
    assert names(world.backfill(OTHER, room, on_old_branch, limit=1)) == ["old branch"]
    assert names(world.backfill(OTHER, room, on_new_branch, limit=1)) == ["m.room.message"]


def test_the_world_reads_what_is_for_the_world(world: ReadWorld) -> None:
    room = world.room("alice", visibility="world_readable")
    said = world.send(room, "alice", "for all")
    assert names(world.backfill("third.example", room, said, limit=1)) == ["for all"]
    assert world.json(world.events.event("third.example", said))["pdus"][0]["content"]["body"] == "for all"


def test_one_event(world: ReadWorld, room: str) -> None:
    said = world.send(room, "alice", "said")
    answer = world.json(world.events.event(OTHER, said))
    assert (answer["origin"], answer["origin_server_ts"]) == (SERVER, world.clock.ms)
    assert names(answer["pdus"]) == ["said"]
    soft = world.beside(room, BOB, "soft", [said], depth=9, state=world.state_at(said), verdict="soft_failed")
    assert names(world.json(world.events.event(OTHER, soft))["pdus"]) == ["soft"]
    unknown = (404, "M_NOT_FOUND")
    assert refused(world, world.events.event("third.example", said)) == unknown
    assert refused(world, world.events.event(OTHER, "$unknown")) == unknown
    outlier = world.beside(room, BOB, "outlier", [said], depth=9)
    assert refused(world, world.events.event(OTHER, outlier)) == unknown
    apart = world.beside(room, BOB, "", [said], depth=9, type="m.room.topic", state_key="")
    assert names(world.json(world.events.event(OTHER, apart))["pdus"]) == [""]
    assert refused(world, world.events.event("third.example", apart)) == unknown
    assert world.backfill(OTHER, room, outlier) == []


def test_an_acl_keeps_a_server_out(world: ReadWorld, room: str) -> None:
    said = world.send(room, "alice", "said")
    assert world.backfill(OTHER, room, said)
    world.set_state(room, "alice", "m.room.server_acl", {"allow": ["*"], "deny": ["other.example"]})
    forbidden = (403, "M_FORBIDDEN")
    assert refused(world, world.events.backfill(OTHER, room, [said], 1)) == forbidden
    assert refused(world, world.events.missing(OTHER, room, [], [said], 0, 1)) == forbidden
    assert refused(world, world.events.event(OTHER, said)) == forbidden
    assert refused(world, world.events.nearest(OTHER, room, 0, backwards=False)) == forbidden
    world.set_state(room, "alice", "m.room.server_acl", {"allow": ["*"]})
    assert world.backfill(OTHER, room, said)


def test_a_redacted_acl_keeps_everybody_out(world: ReadWorld, room: str) -> None:
    listed = world.sent(room, "alice", {"allow": ["*"]}, "m.room.server_acl", state_key="")
    assert world.run(world.acls.allows(room, OTHER))
    # Users here may not redact it, but those of other servers can.
    redacted = listed.event.redacted()
    world.db.write(events.prune, listed.event_nid, redacted, 1)
    world.feed.append([replace(world.sent(room, "alice", "redaction"), redacted=redacted)])
    assert not world.run(world.acls.allows(room, OTHER))
    assert world.run(world.acls.allows("!unknown", OTHER))


def test_an_acl_may_come_by_state_resolution(world: ReadWorld, room: str) -> None:
    assert world.run(world.acls.allows(room, OTHER))
    listed = world.sent(room, "alice", {"deny": ["*"]}, "m.room.server_acl", state_key="")
    world.feed.append([listed])
    assert not world.run(world.acls.allows(room, OTHER))
    move = StateMove(("m.room.server_acl", ""), None, None, None, None)
    world.db.write(lambda tx: tx.execute("DELETE FROM room_state WHERE event_nid = ?", (listed.event_nid,)))
    world.feed.append([replace(world.sent(room, "alice", "merge"), moves=(move,))])
    assert world.run(world.acls.allows(room, OTHER))


def test_erased_users_are_redacted(world: ReadWorld, room: str) -> None:
    world.member(room, "gone", "join")
    said = world.send(room, "gone", "secret")
    assert "secret" in str(world.json(world.events.event(OTHER, said)))
    world.erase("gone")
    assert "secret" not in str(world.json(world.events.event(OTHER, said)))
    assert "secret" not in str(world.backfill(OTHER, room, said))


def test_the_nearest_event_is_one_that_the_server_may_see(world: ReadWorld) -> None:
    room = world.room("alice", visibility="joined")
    hidden = world.sent(room, "alice", "hidden").event
    world.member(room, BOB, "join")
    shown = world.sent(room, "alice", "shown").event
    found = world.run(world.events.nearest(OTHER, room, shown.origin_server_ts + 5_000, backwards=True))
    assert found == {"event_id": shown.event_id, "origin_server_ts": shown.origin_server_ts}
    found = world.run(world.events.nearest(OTHER, room, hidden.origin_server_ts, backwards=False))
    assert found["event_id"] != hidden.event_id
    assert refused(world, world.events.nearest(OTHER, room, 2**53, backwards=False)) == (404, "M_NOT_FOUND")
