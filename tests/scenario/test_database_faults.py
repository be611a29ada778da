"""The database fails under load: clients may retry, nothing acknowledged is lost, nothing is doubled, all recovers.

Each test sends from several clients all the time, makes a fault, mends it, and looks at the room's history. The server
is never restarted: it must recover by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.scenario import faults
from tests.support import database, run
from tests.support.client import MatrixClient
from tests.support.load import Load
from tests.support.postgres import PostgresCluster
from tests.support.server import ServerProcess

NewServer = Callable[..., ServerProcess]
SENDERS = 4
# A client that waits longer for "try again" has given up, and a server that needs longer to recover needs an admin.
ANSWER_WITHIN_S = 12.0
RECOVER_WITHIN_S = 30.0
SMALL_DISK_MB = 24


@pytest.fixture
def sqlite_server(new_server: NewServer) -> ServerProcess:
    """A server on SQLite."""
    return new_server(database.fresh("sqlite3", migrated=False))


@pytest.fixture
def postgres_server(new_server: NewServer, durable_postgres: PostgresCluster) -> ServerProcess:
    """A server on a PostgreSQL of its own."""
    return new_server(database.fresh("psycopg2", migrated=False, cluster=durable_postgres))


def database_file(server: ServerProcess) -> Path:
    """SQLite's file."""
    return Path(server.database.args["database"])


def load_on(server: ServerProcess) -> Load:
    """Senders in one room, already sending."""
    clients = [server.new_client() for _ in range(SENDERS)]
    room_id = clients[0].create_room(preset="public_chat")
    for client in clients[1:]:
        client.join(room_id)
    load = Load(clients, room_id).start()
    load.wait_for(50)
    return load


def reads_go_on(client: MatrixClient, room_id: str) -> None:
    """What needs no write is answered as ever."""
    assert client.get("/account/whoami")["user_id"] == client.user_id
    assert client.messages(room_id, limit=5)["chunk"]


def survives(server: ServerProcess, fault: AbstractContextManager[None], *, reading: bool = True) -> None:
    """The whole story of one fault that lasts longer than the server's own patience."""
    load = load_on(server)
    pid = server.pid
    with fault:
        load.wait_for_refusal(within_s=ANSWER_WITHIN_S)
        if reading:
            reads_go_on(load.clients[0].copy(), load.room_id)
        time.sleep(1)
    load.wait_for(50, within_s=RECOVER_WITHIN_S)
    load.stop()
    assert server.pid == pid
    assert server.is_running
    assert load.slowest_s < ANSWER_WITHIN_S
    load.check_room()
    # Nor was anything kept only in memory: a new process sees the same.
    server.kill()
    server.start()
    load.check_room()


def test_a_locked_sqlite_database(sqlite_server: ServerProcess) -> None:
    survives(sqlite_server, faults.locked(database_file(sqlite_server)))
    assert "locked" in sqlite_server.log_tail()


def test_a_sqlite_lock_that_is_short_is_waited_for(sqlite_server: ServerProcess) -> None:
    load = load_on(sqlite_server)
    with faults.locked(database_file(sqlite_server)):
        time.sleep(1)
    load.wait_for(50)
    load.stop()
    assert load.refusals.total() == load.broken_connections == 0
    load.check_room()


def test_a_file_that_may_not_grow(sqlite_server: ServerProcess) -> None:
    file = database_file(sqlite_server)
    survives(sqlite_server, faults.no_more_bytes(sqlite_server.pid, file))


def test_a_full_disk(new_server: NewServer) -> None:
    place = database.fresh("sqlite3", migrated=False)
    directory = Path(place.args["database"]).parent
    with faults.small_disk(directory, SMALL_DISK_MB):
        server = new_server(place)
        survives(server, faults.full(directory))
        assert "full" in server.log_tail()
        server.stop()


def test_a_sqlite_database_that_becomes_read_only(sqlite_server: ServerProcess) -> None:
    file = database_file(sqlite_server)
    survives(sqlite_server, faults.read_only(file, file.with_name(f"{file.name}-wal")))


@pytest.fixture
def unwritable(sqlite_server: ServerProcess) -> Iterator[ServerProcess]:
    """A stopped server whose database file it may not write."""
    sqlite_server.stop()
    file = database_file(sqlite_server)
    if faults.may_ignore_permissions():
        with faults.read_only(file):
            yield sqlite_server
    else:
        file.chmod(0o400)
        yield sqlite_server
        file.chmod(0o600)


def test_a_start_on_a_read_only_database_says_so(unwritable: ServerProcess) -> None:
    with pytest.raises(
        AssertionError, match=r"(?is)the server ended.*(read-?only|permission|not permitted|cannot write)"
    ):
        unwritable.start(within_s=ANSWER_WITHIN_S)


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_postgresql_restarts_under_load(
    postgres_server: ServerProcess, durable_postgres: PostgresCluster, how: str
) -> None:
    load = load_on(postgres_server)
    for _ in range(3):
        if how == "kill":
            durable_postgres.kill()
        else:
            durable_postgres.stop(how)
        durable_postgres.start()
        load.wait_for(50, within_s=RECOVER_WITHIN_S)
    load.stop()
    assert postgres_server.is_running
    load.check_room()


def test_postgresql_stays_away_for_a_while(postgres_server: ServerProcess, durable_postgres: PostgresCluster) -> None:
    load = load_on(postgres_server)
    durable_postgres.stop("fast")
    load.wait_for_refusal(within_s=ANSWER_WITHIN_S)
    time.sleep(3)
    durable_postgres.start()
    load.wait_for(50, within_s=RECOVER_WITHIN_S)
    load.stop()
    assert load.slowest_s < ANSWER_WITHIN_S
    load.check_room()


def test_one_postgresql_backend_is_ended(postgres_server: ServerProcess, durable_postgres: PostgresCluster) -> None:
    load = load_on(postgres_server)
    for _ in range(5):
        ended = durable_postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'matrixd'"
        )
        assert ended
        load.wait_for(50, within_s=RECOVER_WITHIN_S)
    load.stop()
    load.check_room()


def test_a_read_only_postgresql(postgres_server: ServerProcess, durable_postgres: PostgresCluster) -> None:
    load = load_on(postgres_server)
    # What a fail-over to a standby looks like; it counts for transactions that begin after the reload.
    _set_read_only(durable_postgres, "on")
    load.wait_for_refusal(within_s=ANSWER_WITHIN_S)
    reads_go_on(load.clients[0], load.room_id)
    _set_read_only(durable_postgres, "off")
    load.wait_for(50, within_s=RECOVER_WITHIN_S)
    load.stop()
    load.check_room()


def _set_read_only(cluster: PostgresCluster, value: str) -> None:
    cluster.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    cluster.execute("SELECT pg_reload_conf()")


def test_the_place_of_a_fault_is_cleaned(tmp_path: Path) -> None:
    """The tools themselves: what they broke is whole again afterwards."""
    directory = run.new_directory("disk")
    with faults.small_disk(directory, 1):
        with faults.full(directory), pytest.raises(OSError, match="No space left"):
            (directory / "one").write_bytes(b"x" * 4096)
        (directory / "one").write_bytes(b"x")
    file = tmp_path / "file"
    file.write_text("x")
    with faults.read_only(file), pytest.raises(PermissionError):
        file.write_text("y")
    file.write_text("y")
