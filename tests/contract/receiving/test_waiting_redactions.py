"""Redactions that have no effect, or none yet, are kept and shown to nobody."""

from __future__ import annotations

from random import Random

import pytest

from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.storage import events
from matrixd.storage.stored_event import StoredEvent
from tests.contract.receiving.forks import ForkedRoom
from tests.support.database import OpenDatabase
from tests.unit.core.stateres.random_rooms import USERS, Server, beginning, extremities, made

VERSION = ROOM_VERSIONS["11"]
BOB = USERS[1]
EVE = "@eve:elsewhere"


class Redacting:
    """A room where bob of one server, and eve of another, without any level, send."""

    def __init__(self, db: OpenDatabase) -> None:
        self.db = db
        self.server = Server(VERSION, Random(0))
        beginning(self.server)
        self.room = ForkedRoom(db, self.server.events.values())
        self.place(self.made(EVE, "m.room.member", {"membership": "join"}, EVE))

    def made(self, sender: str, event_type: str, content: dict[str, str], state_key: str | None = None) -> Event:
        """An event after those that were made before."""
        ends = extremities(self.server.events.values())
        event = made(self.server, self.server.state_of(ends), ends, sender, event_type, state_key, content, ts=0)
        self.server.receive(event)
        return event

    def place(self, event: Event) -> str | None:
        """The verdict on an event."""
        return self.room.place(event).verdict

    def stored(self, event: Event) -> StoredEvent:
        """An event as it is stored."""
        found = self.db.read(events.by_id, event.event_id)
        assert found is not None
        return found


@pytest.fixture
def redacting(db: OpenDatabase) -> Redacting:
    return Redacting(db)


def test_a_redaction_that_is_not_its_senders_to_make_changes_nothing(redacting: Redacting) -> None:
    message = redacting.made(BOB, "m.room.message", {"body": "x"})
    redaction = redacting.made(EVE, "m.room.redaction", {"redacts": message.event_id})
    after = redacting.made(BOB, "m.room.message", {"body": "y"})
    assert [redacting.place(event) for event in (message, redaction, after)] == [None, "waiting", None]
    assert redacting.stored(message).event.content == {"body": "x"}
    assert redacting.stored(redaction).pos is None
    assert redacting.stored(after).pos is not None


def test_a_redaction_waits_for_what_it_redacts(redacting: Redacting) -> None:
    first = redacting.made(BOB, "m.room.message", {"body": "x"})
    ends = [first.event_id]
    state = redacting.server.state_of(ends)
    target = made(redacting.server, state, ends, BOB, "m.room.message", None, {"body": "secret"}, ts=1)
    content = {"redacts": target.event_id}
    redaction = made(redacting.server, state, ends, BOB, "m.room.redaction", None, content, ts=2)
    assert [redacting.place(event) for event in (first, redaction, target)] == [None, "waiting", None]
    stored = redacting.stored(target)
    assert stored.event.content == {}
    assert stored.redacted_by == redacting.stored(redaction).event_nid
    # It has taken effect, so it is part of the timeline now, and of nobody's way to the room's end.
    released = redacting.stored(redaction)
    assert released.verdict is None
    assert released.pos is not None
    assert stored.pos is not None
    assert released.pos > stored.pos
    assert redacting.room.extremities() == [target.event_id]


def test_a_redaction_with_effect_is_part_of_the_timeline(redacting: Redacting) -> None:
    message = redacting.made(EVE, "m.room.message", {"body": "x"})
    redaction = redacting.made(BOB, "m.room.redaction", {"redacts": message.event_id})
    assert [redacting.place(event) for event in (message, redaction)] == [None, None]
    assert redacting.stored(message).event.content == {}
    assert redacting.stored(redaction).pos is not None
