"""Starts that cannot be, and ends in the middle of work: said in a sentence, done in bounded time, nothing lost."""

from __future__ import annotations

import copy
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matrixd.storage import migrations
from matrixd.storage.engines.base import Mode
from tests.scenario import faults
from tests.support import database
from tests.support.client import MatrixClient
from tests.support.database import DatabasePlace
from tests.support.load import Load
from tests.support.server import ServerProcess

NewServer = Callable[..., ServerProcess]
# systemd's patience is 90 s; an administrator's is shorter.
ENDS_WITHIN_S = 15.0
SENDERS = 6


class LongPoll(threading.Thread):
    """One sync that has nothing to tell for a long time; `status` is that of its answer."""

    def __init__(self, client: MatrixClient) -> None:
        super().__init__(daemon=True)
        # Presence of the client's own, and what else ends a wait at once, comes before it.
        self._client = client
        self._since = str(client.sync()["next_batch"])
        self._since = str(client.sync(since=self._since, timeout=500)["next_batch"])
        self.status: int | None = None
        self.problem: Exception | None = None

    def run(self) -> None:
        try:
            query = {"since": self._since, "timeout": "60000"}
            self.status = self._client.get("/sync", query=query, expect=None).status
        except Exception as error:
            self.problem = error


def load_on(server: ServerProcess) -> Load:
    """Senders in one room, already sending."""
    clients = [server.new_client() for _ in range(SENDERS)]
    room_id = clients[0].create_room(preset="public_chat")
    for client in clients[1:]:
        client.join(room_id)
    load = Load(clients, room_id).start()
    load.wait_for(30)
    return load


def test_a_stop_loses_nothing_and_answers_those_who_wait(
    durable_database: DatabasePlace, new_server: NewServer
) -> None:
    server = new_server(durable_database)
    waiting = [LongPoll(server.new_client()) for _ in range(5)]
    load = load_on(server)
    for poll in waiting:
        poll.start()
    time.sleep(0.5)
    for _ in range(3):
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
        server.start()
        load.wait_for(30)
    load.stop()
    for poll in waiting:
        poll.join(5)
        assert (poll.status, poll.problem) == (200, None)
    # A request that the end meets is answered, or its connection is closed: none is refused.
    assert set(load.refusals) <= {503}
    load.check_room()
    assert "Traceback" not in server.log_tail()
    assert server.stop(signal.SIGINT) == 0


def test_a_stop_while_the_database_is_locked(new_server: NewServer) -> None:
    server = new_server(database.fresh("sqlite3", migrated=False))
    load = load_on(server)
    with faults.locked(Path(server.database.args["database"])):
        time.sleep(0.5)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
    server.start()
    load.wait_for(30)
    load.stop()
    load.check_room()


def test_a_second_master_on_the_same_database(durable_database: DatabasePlace, new_server: NewServer) -> None:
    first = new_server(durable_database)
    second = ServerProcess(durable_database)
    second.launch()
    assert second.wait(ENDS_WITHIN_S) == 1
    assert "another matrixd is running on" in second.log_tail()
    assert "Traceback" not in second.log_tail()
    # The first has noticed nothing.
    assert first.new_client().create_room()
    assert first.stop() == 0
    second.start()
    assert second.stop() == 0


def test_a_start_waits_for_a_master_that_is_about_to_end(durable_database: DatabasePlace) -> None:
    engine = durable_database.engine()
    migrations.migrate(engine, lambda step: None)
    claimed = engine.connect(Mode.MASTER)
    server = ServerProcess(durable_database)
    server.launch()
    deadline = time.monotonic() + ENDS_WITHIN_S
    while "waiting: another matrixd is running" not in server.log_tail():
        assert server.is_running, server.log_tail()
        assert time.monotonic() < deadline, server.log_tail()
        time.sleep(0.02)
    claimed.close()
    engine.release()
    server.wait_until_it_answers()
    assert server.stop() == 0


def test_a_second_start_of_the_same_configuration(new_server: NewServer) -> None:
    first = new_server(database.fresh("sqlite3", migrated=False))
    second = copy.copy(first)
    second._process = None
    second.launch()
    assert second.wait(ENDS_WITHIN_S) == 1
    assert f"it already runs, with pid {first.pid}" in second.log_tail()
    assert first.is_running
    assert first.new_client().create_room()


def test_a_start_on_a_port_that_is_taken(new_server: NewServer) -> None:
    place = database.fresh("sqlite3", migrated=False)
    server = ServerProcess(place)
    with socket.create_server(("127.0.0.1", server.port)):
        server.launch()
        assert server.wait(ENDS_WITHIN_S) == 1
    said = f"port {server.port} of 127.0.0.1 cannot be had: Address already in use"
    assert said in server.log_tail()
    assert "Traceback" not in server.log_tail()
    server.start()
    assert server.stop() == 0


@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.5, 0.7, 0.9, 1.2])
def test_a_stop_during_the_start(new_server: NewServer, after_s: float) -> None:
    server = ServerProcess(database.fresh("sqlite3", migrated=False))
    pid_file = Path(server.configuration["pid_file"])
    server.launch()
    time.sleep(after_s)
    # Before Python has read as much as its own signal handling there is nobody who could end cleanly.
    has_begun = pid_file.exists()
    status = server.stop(within_s=ENDS_WITHIN_S)
    assert status == 0 if has_begun else status in (0, -signal.SIGTERM)
    assert "Traceback" not in server.log_tail()
    assert not pid_file.exists()
    server.start()
    assert server.stop() == 0


def test_a_start_without_postgresql(durable_postgres: Any, new_server: NewServer) -> None:
    place = database.fresh("psycopg2", migrated=False, cluster=durable_postgres)
    durable_postgres.stop("fast")
    server = ServerProcess(place)
    server.launch()
    assert server.wait(ENDS_WITHIN_S) == 1
    assert "the database cannot be used: connection to server" in server.log_tail()
    assert "Traceback" not in server.log_tail()


def test_a_start_on_what_is_no_database(new_server: NewServer) -> None:
    place = database.fresh("sqlite3", migrated=False)
    Path(place.args["database"]).write_bytes(b"no database at all " * 1000)
    server = ServerProcess(place)
    server.launch()
    assert server.wait(ENDS_WITHIN_S) == 1
    assert "the database cannot be used: file is not a database" in server.log_tail()


def test_a_start_on_a_locked_database(new_server: NewServer) -> None:
    place = database.fresh("sqlite3")
    server = ServerProcess(place)
    other = sqlite3.connect(place.args["database"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    server.launch()
    assert server.wait(ENDS_WITHIN_S) == 1
    assert "the database cannot be used: database is locked" in server.log_tail()
    other.close()
    server.start()
    assert server.stop() == 0
