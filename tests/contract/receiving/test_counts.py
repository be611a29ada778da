"""How many members a room has, and of which servers, is what its state says: after any forks, moves and merges."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from matrixd.core.versions import ROOM_VERSIONS
from matrixd.services import room_head
from matrixd.services.receiving.placing import NotInRoom
from matrixd.services.room_head import RoomHead
from matrixd.storage import events, room_members, room_servers, room_state, rooms
from matrixd.storage.transaction import Transaction
from tests.contract.receiving.forks import OURS, ForkedRoom
from tests.support.database import OpenDatabase
from tests.unit.core.stateres import random_rooms
from tests.unit.core.stateres.random_rooms import Move, any_order, build

USERS = (f"@alice:{OURS}", "@bob:b.org", f"@carol:{OURS}", "@dave:b.org", "@erin:e.org")
KINDS = ("join", "join", "leave", "kick", "ban", "invite", "rules", "levels", "message")


class Counts:
    """What is counted of a room."""

    def __init__(self, joined: int, invited: int, servers: dict[str, int], local: set[str]) -> None:
        self.all = (joined, invited, dict(sorted(servers.items())), sorted(local))

    @classmethod
    def of_memberships(cls, memberships: dict[str, str]) -> Counts:
        joined = [user_id for user_id, membership in memberships.items() if membership == "join"]
        servers = Counter(user_id.partition(":")[2] for user_id in joined)
        del servers[OURS]
        local = {user_id for user_id in joined if user_id.endswith(f":{OURS}")}
        return cls(len(joined), sum(m == "invite" for m in memberships.values()), dict(servers), local)

    @classmethod
    def of_head(cls, head: RoomHead, local: set[str]) -> Counts:
        return cls(head.joined_count, head.invited_count, head.servers, local)


def _stored(tx: Transaction, room_id: str) -> tuple[Counts, Counts, Counts]:
    """As the state says, as the memberships do, and as it is counted."""
    room = rooms.by_id(tx, room_id)
    assert room is not None
    state = room_state.everything(tx, room.room_nid)
    by_state = {key[1]: item.event.membership or "leave" for key, item in state.items() if key[0] == "m.room.member"}
    members = room_members.of_room(tx, room.room_nid, ("join", "invite", "leave", "ban", "knock"))
    found = events.by_nids(tx, {member.event_nid for member in members})
    by_rows = {found[m.event_nid].event.state_key or "": m.membership for m in members if m.membership != "leave"}
    local = {user_id for _, user_id in room_members.local_joined(tx, room.room_nid)}
    counted = Counts(room.joined_count, room.invited_count, room_servers.of_room(tx, room.room_nid), local)
    return Counts.of_memberships(by_state), Counts.of_memberships(by_rows), counted


@pytest.mark.parametrize("version", ["1", "2", "11", "12"])
@pytest.mark.parametrize("seed", range(6))
def test_members_are_counted_as_the_state_has_them(
    db: OpenDatabase, version: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_rooms, "USERS", USERS)
    random = Random(seed)
    moves = [
        Move(
            random.choice(KINDS), random.randrange(len(USERS)), random.randrange(len(USERS)), random.randrange(3),
            tuple(random.randrange(6) for _ in range(random.randint(1, 3))), random.randrange(7),
        )
        for _ in range(30)
    ]
    oracle = build(ROOM_VERSIONS[version], moves)
    found = list(oracle.events.values())
    room = ForkedRoom(db, found[:5])
    for event in any_order(found, random):
        if event in found[:5]:
            continue
        try:
            room.place(event)
        except NotInRoom:
            break
        head = room.run(room.heads.get(room.room_id))
        local = room.run(room.heads.local_joined(head))
        if random.random() < 0.2:
            room.heads.forget(room.room_id)
        by_state, by_rows, counted = db.read(_stored, room.room_id)
        assert Counts.of_head(head, local).all == by_state.all == by_rows.all == counted.all
        for event_id in head.same_state:
            assert room.after(event_id) == room.current(), "the state after these is the current one"


def test_a_head_keeps_what_it_is_asked_for(db: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_head, "_MAX_ENTRIES", 10)
    room = ForkedRoom(db, list(build(ROOM_VERSIONS["11"], []).events.values()))
    keys = [("m.room.member", f"@{number}:b.org") for number in range(30)]
    head = room.run(room.heads.get(room.room_id, keys))
    assert head.missing(keys) == []
    room.run(room.heads.get(room.room_id, [("m.room.member", "@other:b.org")]))
    assert head.missing(keys) == keys
