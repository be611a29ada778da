"""`synctl room explain`, on rooms that have forked, on both engines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.ops import synctl
from matrixd.util.exit_codes import Action
from tests.contract.receiving.forks import ForkedRoom
from tests.support.database import OpenDatabase
from tests.unit.core.stateres.random_rooms import USERS, Server, beginning, made

ALICE, BOB, CAROL, _ = USERS
Capture = pytest.CaptureFixture[str]


class Story:
    """A room in the database; `server` has all states in memory, to make further events with."""

    def __init__(self, db: OpenDatabase, version: str, directory: Path, capsys: Capture) -> None:
        self.server = Server(ROOM_VERSIONS[version], Random(0))
        beginning(self.server)
        self.end = list(self.server.events)[-1]
        self.room = ForkedRoom(db, self.server.events.values())
        self.config = directory / "homeserver.yaml"
        database = {"name": db.place.name, "args": db.place.args}
        self.config.write_text(json.dumps({"server_name": "domain", "pid_file": "p.pid", "database": database}))
        self._capsys = capsys

    def comes(
        self,
        prev_events: Sequence[str],
        sender: str,
        event_type: str,
        content: dict[str, Any],
        state_key: str = "",
        ts: int = 1_000,
    ) -> Event:
        """An event after some others, as another server sends it."""
        state = self.server.state_of(prev_events)
        event = made(
            self.server,
            state,
            prev_events,
            sender,
            event_type,
            None if event_type == "m.room.message" else state_key,
            content,
            ts=ts,
        )
        self.server.receive(event)
        self.room.place(event)
        return event

    def levels(self, prev_events: Sequence[str], sender: str, **users: int) -> Event:
        """Power levels, changed for some users."""
        before = self.server.state_of(prev_events)["m.room.power_levels", ""].content["users"]
        named = {f"@{name}:domain": level for name, level in users.items()}
        return self.comes(prev_events, sender, "m.room.power_levels", {"users": {**before, **named}})

    def explained(self, event_type: str, state_key: str = "") -> list[str]:
        """What the command prints."""
        options = [self.room.room_id, event_type, *([state_key] if state_key else []), "-c", str(self.config)]
        assert synctl.main(["room", "explain", *options]) == Action.OK
        return self._capsys.readouterr().out.splitlines()


@pytest.fixture(params=["1", "11", "12"])
def story(request: pytest.FixtureRequest, db: OpenDatabase, tmp_path: Path, capsys: Capture) -> Story:
    """Alice may do all; bob, who is in the room, has level 50."""
    return Story(db, request.param, tmp_path, capsys)


def line(lines: list[str], start: str) -> str:
    """The one line that begins so."""
    found = [one for one in lines if one.startswith(start)]
    assert len(found) == 1, lines
    return found[0]


def test_what_nobody_opposes(story: Story) -> None:
    first = story.comes([story.end], ALICE, "m.room.topic", {"topic": "1"})
    second = story.comes([first.event_id], BOB, "m.room.topic", {"topic": "2"})
    lines = story.explained("m.room.topic")
    number = story.server.version.identifier
    assert lines[0] == f"Room {story.room.room_id}, version {number}: m.room.topic"
    assert lines[2] == f"It is {second.event_id}, sent by {BOB} (at 1970-01-01 00:00:01 UTC, says its server)."
    assert lines[3] == f"It became current when it came, at position 7, in place of {first.event_id}."
    levels = story.server.current()["m.room.power_levels", ""].event_id
    assert f"m.room.power_levels ({levels})" in lines[4]
    assert f"m.room.member {BOB} (" in lines[4]
    assert "m.room.create (" in lines[4]
    assert f"The room has one newest event, {second.event_id}: no branches are open." in lines
    assert line(lines, f"- {first.event_id}").endswith(
        f"was current from position 6 until {second.event_id} took its place at 7."
    )


def test_a_fork_that_is_open_is_resolved_with_an_explanation(story: Story) -> None:
    by_bob = story.levels([story.end], BOB, carol=50)
    by_alice = story.levels([story.end], ALICE, bob=0)
    expected = story.server.state_of(story.room.extremities())["m.room.power_levels", ""]
    lines = story.explained("m.room.power_levels")
    assert lines[2].startswith(f"It is {expected.event_id},")
    assert "The room has 2 newest events, each the end of a branch:" in lines
    assert (
        f"- state 1 is that after {by_alice.event_id}" in lines
        or f"- state 2 is that after {by_alice.event_id}" in lines
    )
    resolution = story.server.version.state_resolution.value
    assert f"They differ in this place. State resolution {resolution} decides:" in lines
    assert any(one.startswith(f"- {expected.event_id} won: it was the last one") for one in lines)
    assert not any("damaged" in one for one in lines)
    if resolution != "1":
        assert any(f"- {by_bob.event_id} of {BOB}" in one and "not allowed (send_level)" in one for one in lines)
    # The same room, another place: all agree.
    assert "All of these states agree in this place." in story.explained("m.room.join_rules")


def test_what_lost_where_branches_met_long_ago(story: Story) -> None:
    before = story.comes([story.end], ALICE, "m.room.message", {"body": "deeper"})
    later = story.comes([before.event_id], ALICE, "m.room.topic", {"topic": "A"}, ts=2_000)
    earlier = story.comes([story.end], BOB, "m.room.topic", {"topic": "B"}, ts=1_000)
    story.comes([later.event_id, earlier.event_id], ALICE, "m.room.name", {"name": "N"})
    lines = story.explained("m.room.topic")
    assert lines[2].startswith(f"It is {later.event_id},")
    fate = line(lines, f"- {earlier.event_id}")
    assert "came at position 8, and lost in state resolution." in fate
    if story.server.version.identifier != "1":
        assert fate.endswith(f" {later.event_id} was applied after it.")


def test_what_state_resolution_brought_back(story: Story) -> None:
    ban = story.comes([story.end], ALICE, "m.room.member", {"membership": "ban"}, BOB)
    join = story.comes([story.end], CAROL, "m.room.member", {"membership": "join"}, CAROL)
    gone = story.comes([join.event_id], ALICE, "m.room.topic", {"topic": "T"})
    assert story.room.verdict(gone.event_id) is None
    lines = story.explained("m.room.member", BOB)
    assert lines[2].startswith(f"It is {ban.event_id}, sent by {ALICE}")
    assert any("took its place" in one for one in lines if one.startswith("- "))


def test_what_was_rejected_or_soft_failed(story: Story) -> None:
    first = story.comes([story.end], ALICE, "m.room.topic", {"topic": "1"})
    rejected = story.comes([first.event_id], CAROL, "m.room.topic", {"topic": "2"})
    assert story.room.verdict(rejected.event_id) == "rejected"
    story.comes([first.event_id], ALICE, "m.room.member", {"membership": "ban"}, BOB)
    late = story.comes([first.event_id], BOB, "m.room.topic", {"topic": "3"})
    assert story.room.verdict(late.event_id) == "soft_failed"
    lines = story.explained("m.room.topic")
    assert lines[2].startswith(f"It is {first.event_id},")
    fate = line(lines, f"- {rejected.event_id}")
    assert "was rejected: " in fate
    assert fate.endswith("(rule sender_not_joined).")
    fate = line(lines, f"- {late.event_id}")
    assert "was soft-failed: the state before it allows it, the current state does not. " in fate
    assert fate.endswith("(rule sender_not_joined).")


def test_what_is_not_there(story: Story, capsys: Capture) -> None:
    assert story.explained("m.room.avatar") == [
        f"{story.room.room_id} has no m.room.avatar, and this server knows of no such event."
    ]
    rejected = story.comes([story.end], CAROL, "m.room.topic", {"topic": "2"})
    lines = story.explained("m.room.topic")
    assert "Nothing holds this place now." in lines
    assert "was rejected" in line(lines, f"- {rejected.event_id}")
    assert synctl.main(["room", "explain", "!no:room", "m.room.topic", "-c", str(story.config)]) == Action.FAILED
    assert capsys.readouterr().err == "This server knows no room !no:room.\n"
