"""Rooms with a policy server: it is asked about every event of ours, and about others' that it has not signed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.push.evaluation import CompiledRuleset
from matrixd.core.signing import SigningKey
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.services.event_effects import EventEffects
from matrixd.services.persister import Persister
from matrixd.services.policy_servers import PolicyServers
from matrixd.services.receiving.placing import Placing, Received
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import Draft, RoomLanes, Sent
from matrixd.storage import events
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.kept import FakeClock
from tests.support.policies import Signer

ALICE, PAUL = "@alice:ours.example", "@paul:policy.example"
KEY = SigningKey.from_seed("policy", bytes([7]) * 32)
OUR_KEY = SigningKey.from_seed("1", bytes(32))
CONTENT = {"via": "policy.example", "public_keys": {"ed25519": KEY.verify_key.to_base64()}}


class _NoRulesets:
    async def for_room(self, room_id: str, members: Collection[str]) -> Mapping[str, CompiledRuleset]:
        return {}

    async def ignoring(self, sender: str, members: Collection[str]) -> Collection[str]:
        return ()


class Room:
    """A room of ours with a policy server."""

    def __init__(self, db: OpenDatabase) -> None:
        self.db = db
        budget, clock = CacheBudget(2**24), FakeClock()
        heads = RoomHeads(db.database, budget, lambda user_id: user_id.endswith(":ours.example"))
        self.signer = Signer("policy.example", KEY)
        policies = PolicyServers("ours.example", self.signer)
        persister, effects = Persister(db.database, clock), EventEffects("ours.example", heads, _NoRulesets())
        self.lanes = RoomLanes(
            "ours.example", OUR_KEY, heads, persister, db.database, effects, policies, clock, lambda: "$none"
        )
        self.placing = Placing(db.database, heads, persister, effects, policies, budget)
        drafts = [
            Draft(ALICE, "m.room.create", {"room_version": "11"}, ""),
            Draft(ALICE, "m.room.member", {"membership": "join"}, ALICE),
            Draft(ALICE, "m.room.join_rules", {"join_rule": "public"}, ""),
        ]
        made = self.lanes.create(ROOM_VERSIONS["11"], "!room:ours.example", drafts)
        self.room_id, _ = db.wait(Deferred.fromCoroutine(made))
        self.send("m.room.member", {"membership": "join"}, PAUL, sender=PAUL)
        self.send("m.room.policy", CONTENT, "")

    def send(
        self, event_type: str, content: Mapping[str, object], key: str | None = None, sender: str = ALICE
    ) -> Event:
        """Send an event."""
        work = self.lanes.send(self.room_id, [Draft(sender, event_type, content, key)])
        sent: list[Sent] = self.db.wait(Deferred.fromCoroutine(work))
        stored = self.db.read(events.by_id, sent[0].event_id)
        assert stored is not None
        return stored.event

    def built(self, text: str) -> Event:
        """An event that was not sent, and that the policy server has not signed."""
        work = self.lanes.build(self.room_id, Draft(PAUL, "m.room.message", {"body": text}))
        return self.db.wait(Deferred.fromCoroutine(work))

    def receive(self, event: Event) -> str | None:
        """The verdict on an event of another server."""

        async def place() -> str | None:
            received = Received(event, frozenset({"policy.example"}), "policy.example")
            if await self.placing.follow(received) is not None:
                return None
            return (await self.placing.place(await self.placing.checked_by_policy(received))).verdict

        return self.db.wait(Deferred.fromCoroutine(place()))


def test_it_signs_what_we_send(db: OpenDatabase) -> None:
    room = Room(db)
    assert room.signer.asked == []
    event = room.send("m.room.message", {"body": "x"})
    assert [asked.event_id for asked in room.signer.asked] == [event.event_id]
    assert "ed25519:policy_server" in event.pdu["signatures"]["policy.example"]
    assert room.send("m.room.topic", {"topic": "x"}, "").prev_events == (event.event_id,)


def test_what_it_refuses_is_not_sent(db: OpenDatabase) -> None:
    room = Room(db)
    first = room.send("m.room.message", {"body": "x"})
    room.signer.refusal = MatrixError(400, "M_FORBIDDEN", "Spam.")
    with pytest.raises(MatrixError) as refused:
        room.send("m.room.message", {"body": "y"})
    assert (refused.value.status, refused.value.errcode, refused.value.error) == (400, "M_FORBIDDEN", "Spam.")
    room.signer.refusal = None
    assert room.send("m.room.message", {"body": "z"}).prev_events == (first.event_id,)


def test_the_policy_itself_can_always_be_changed(db: OpenDatabase) -> None:
    room = Room(db)
    room.signer.refusal = MatrixError(400, "M_FORBIDDEN", "Spam.")
    room.send("m.room.policy", {}, "")
    assert room.signer.asked == []
    room.send("m.room.message", {"body": "free"})


def test_others_events_need_its_signature(db: OpenDatabase) -> None:
    room = Room(db)
    good, bad = room.built("good"), room.built("bad")
    assert room.receive(good) is None
    assert [asked.event_id for asked in room.signer.asked] == [good.event_id]
    stored = db.read(events.by_id, good.event_id)
    assert stored is not None
    assert "ed25519:policy_server" in stored.event.pdu["signatures"]["policy.example"]
    room.signer.refusal = MatrixError(400, "M_FORBIDDEN", "Spam.")
    assert room.receive(bad) == "soft_failed"
