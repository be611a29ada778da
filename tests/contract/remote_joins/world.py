"""Our server's part in rooms of other servers, on a test's database."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.task import Clock

from matrixd.core.event import Event
from matrixd.core.signing import SigningKey
from matrixd.services.handshakes.template import Templates
from matrixd.services.out_of_band import OutOfBand
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.remote_joins.checking import SnapshotChecks
from matrixd.services.remote_joins.completion import Completion
from matrixd.services.remote_joins.departures import Departures
from matrixd.services.remote_joins.filling import Filling
from matrixd.services.remote_joins.handshake import JoinHandshake
from matrixd.services.remote_joins.machine import RemoteJoins
from matrixd.services.remote_joins.room_import import RoomImport
from matrixd.services.remote_leaving import LeaveHandshake, RemoteLeaving
from matrixd.storage import event_state, events, remote_joins, room_members, room_servers, room_state, rooms
from matrixd.storage.event_state import EventState
from matrixd.storage.remote_joins import RemoteJoin
from matrixd.storage.rooms import Room
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction
from tests.support.database import WAIT_S, OpenDatabase
from tests.support.rooms import SERVER, RoomWorld
from tests.support.rooms_elsewhere import Keys, Network, Threads

KEY = SigningKey.from_seed("1", bytes(32))


class JoinWorld(RoomWorld):
    """One server that joins rooms of others."""

    def __init__(self, db: OpenDatabase, network: Network) -> None:
        super().__init__(db)
        self.network = network
        self.timer = Clock()
        self.keys = Keys({SERVER: KEY})
        numbers = itertools.count()

        def new_event_id() -> str:
            return f"$own{next(numbers)}:{SERVER}"

        database, checks = db.database, PduChecks(self.keys, Threads())
        templates = Templates(SERVER, KEY, self.clock, new_event_id)
        snapshot_checks = SnapshotChecks(database, checks)
        self.out_of_band = OutOfBand(database, self.heads)
        leave = LeaveHandshake(network, templates)
        self.leaving = RemoteLeaving(
            database, leave, self.out_of_band, SERVER, KEY, self.clock, cast(Any, self.timer), new_event_id
        )
        departures = Departures(self.lanes, leave)
        self.completion = Completion(
            database, network, snapshot_checks, Filling(database, self.heads, self.clock, _is_local), departures,
            self.clock,
        )
        self.joins = RemoteJoins(
            database, JoinHandshake(network, templates, checks, SERVER), snapshot_checks,
            RoomImport(database, self.heads, self.clock, _is_local), self.completion, departures, self.clock,
            cast(Any, self.timer),
        )

    def join(self, user_id: str, room_id: str, *servers: str, **content: Any) -> bool:
        """Join, and let what goes on in the background come to its end."""
        joined = self.run(self.joins.join(user_id, room_id, content, servers))
        self.settle(room_id)
        return joined

    def settle(self, room_id: str) -> None:
        """Let the room be completed, as far as that goes."""
        self.run(self.completion.stop(room_id))

    def pump(self, until: Callable[[], bool]) -> None:
        """Let the database work until something is so."""
        deadline = time.monotonic() + WAIT_S
        while not until():
            assert time.monotonic() < deadline, "it never came to that"
            self.run(self._look())
            time.sleep(0.002)

    async def _look(self) -> None:
        await self.db.database.read(rooms.nid, "!none:nowhere.org")

    def is_complete(self, room_id: str) -> bool:
        """Whether the join is over, and the room whole."""
        found = self.db.read(remote_joins.by_room, room_id)
        return found is not None and found.state == "complete"

    def room_is_unknown(self, room_id: str) -> bool:
        """Whether the room has no events here."""
        found = self.db.read(rooms.by_id, room_id)
        return found is None or not found.extremities

    def event(self, event_id: str) -> Event:
        """A stored event."""
        found = self.db.read(events.by_id, event_id)
        assert found is not None
        return found.event

    def state_at(self, room_id: str, pos: int) -> dict[tuple[str, str], Event]:
        """The state after a position."""

        def read(tx: Transaction) -> dict[tuple[str, str], Event]:
            room_nid = rooms.nid(tx, room_id)
            assert room_nid is not None
            return {key: item.event for key, item in room_state.everything(tx, room_nid, pos).items()}

        return self.db.read(read)

    def before(self, event_id: str) -> dict[tuple[str, str], str]:
        """The state before an event: event IDs by key."""
        return self.db.read(_state, event_id, event_state.before)

    def after(self, event_id: str) -> dict[tuple[str, str], str]:
        """The state after an event."""
        return self.db.read(_state, event_id, event_state.after)

    def row(self, room_id: str) -> RemoteJoin:
        """How far the join has come."""
        found = self.db.read(remote_joins.by_room, room_id)
        assert found is not None
        return found

    def room_row(self, room_id: str) -> Room:
        """The room."""
        found = self.db.read(rooms.by_id, room_id)
        assert found is not None
        return found

    def current(self, room_id: str) -> dict[tuple[str, str], str]:
        """The current state: event IDs by key."""

        def read(tx: Transaction) -> dict[tuple[str, str], str]:
            room_nid = rooms.nid(tx, room_id)
            assert room_nid is not None
            return {key: item.event.event_id for key, item in room_state.everything(tx, room_nid).items()}

        return self.db.read(read)

    def memberships(self, room_id: str) -> dict[str, str]:
        """Who has which membership, by user ID."""

        def read(tx: Transaction) -> dict[str, str]:
            room_nid = rooms.nid(tx, room_id)
            assert room_nid is not None
            members = room_members.of_room(tx, room_nid, ["join", "invite", "leave", "ban", "knock"])
            found = events.by_nids(tx, [member.event_nid for member in members])
            return {found[m.event_nid].event.key[1]: m.membership for m in members}

        return self.db.read(read)

    def servers(self, room_id: str) -> dict[str, int]:
        """The other servers in the room, with the numbers of their members."""

        def read(tx: Transaction) -> dict[str, int]:
            room_nid = rooms.nid(tx, room_id)
            assert room_nid is not None
            return room_servers.of_room(tx, room_nid)

        return self.db.read(read)


def _is_local(user_id: str) -> bool:
    return user_id.endswith(":" + SERVER)


def _state(
    tx: Transaction, event_id: str, of: Callable[[Transaction, StoredEvent], EventState | None]
) -> dict[tuple[str, str], str]:
    stored = events.by_id(tx, event_id)
    assert stored is not None
    state = of(tx, stored)
    assert state is not None
    return {key: item.event.event_id for key, item in state.everything(tx).items()}
