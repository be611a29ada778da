"""What ends the invites and knocks of our users in rooms that we are not in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from matrixd.core.event import Event
from matrixd.services.out_of_band import OutOfBand
from matrixd.services.receiving.outside_rooms import OutsideRooms
from matrixd.services.room_head import RoomHeads
from matrixd.storage import room_members, rooms, users
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.rooms_elsewhere import RoomElsewhere

ANN, MOD, UTA = "@ann:far.org", "@mod:third.org", "@uta:ours.org"


class Outside:
    """A user of ours who has an invite, or knocks."""

    def __init__(self, db: OpenDatabase, membership: str) -> None:
        self.db = db
        self.elsewhere = RoomElsewhere(ANN, "11", join_rule="knock")
        heads = RoomHeads(db.database, CacheBudget(2**20), _is_local)
        out_of_band = OutOfBand(db.database, heads)
        self.rooms = OutsideRooms(db.database, out_of_band, _is_local)
        sender = ANN if membership == "invite" else UTA
        self.standing = self.elsewhere.send(sender, "m.room.member", {"membership": membership}, UTA)
        db.wait(Deferred.fromCoroutine(out_of_band.store(self.standing)))

    def ends(self, sender: str, origin: str, auth_events: list[Event] | None = None) -> bool:
        """Whether an event by which the user is out is taken."""
        more: Mapping[str, Any] = {} if auth_events is None else {"auth_events": auth_events}
        event = self.elsewhere.build(sender, "m.room.member", {"membership": "leave"}, UTA, **more)
        return self.db.wait(Deferred.fromCoroutine(self.rooms.receive(origin, event)))

    def membership(self) -> str:
        """What the user's syncs say."""

        def read(tx: Transaction) -> str:
            room_nid, user_nid = rooms.nid(tx, self.elsewhere.room_id), users.find(tx, UTA)
            assert room_nid is not None
            assert user_nid is not None
            member = room_members.one(tx, room_nid, user_nid)
            assert member is not None
            return member.membership

        return self.db.read(read)


def _is_local(user_id: str) -> bool:
    return user_id.endswith(":ours.org")


def test_who_invited_takes_it_back(db: OpenDatabase) -> None:
    outside = Outside(db, "invite")
    assert outside.ends(ANN, "far.org", [])
    assert outside.membership() == "leave"


@pytest.mark.parametrize("membership", ["invite", "knock"])
def test_others_in_the_room_can_as_well(db: OpenDatabase, membership: str) -> None:
    outside = Outside(db, membership)
    assert outside.ends(MOD, "third.org", [outside.standing])
    assert outside.membership() == "leave"


@pytest.mark.parametrize("membership", ["invite", "knock"])
def test_strangers_cannot(db: OpenDatabase, membership: str) -> None:
    outside = Outside(db, membership)
    assert not outside.ends(MOD, "third.org", [])
    assert not outside.ends(ANN, "third.org", [outside.standing])
    assert outside.membership() == membership
