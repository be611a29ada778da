"""A server that is killed while it joins a room of another server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from matrixd.core.errors import MatrixError
from tests.support.authority import Authority
from tests.support.client import MatrixClient, quoted
from tests.support.database import DatabasePlace
from tests.support.remote_server import RemoteServer, remote_options
from tests.support.rooms_elsewhere import RoomElsewhere
from tests.support.server import ServerProcess
from tests.support.serving_rooms import serve

WITHIN_S = 30.0


@pytest.mark.parametrize("operation", ["send_join/{roomId}/{eventId}", "state/{roomId}"])
def test_the_join_is_finished_after_the_restart(
    durable_database: DatabasePlace,
    new_server: Callable[..., ServerProcess],
    authority: Authority,
    remote: RemoteServer,
    operation: str,
) -> None:
    server = new_server(durable_database, **remote_options(authority))
    remote.knows(server)
    room = RoomElsewhere(remote.user("rita"), "10", keys={remote.name: remote.key})
    room.join(*(remote.user(f"user{number}") for number in range(5)))
    serve(remote, room, omits_members=True, delay_s=2.0)
    alice = server.new_client()
    joining = threading.Thread(target=_join, args=(alice, room.room_id))
    joining.start()
    version = "v2" if operation.startswith("send_join") else "v1"
    method = "PUT" if version == "v2" else "GET"
    remote.wait_for(method, f"/_matrix/federation/{version}/{operation}", count=1)
    server.kill()
    joining.join()
    server.start()
    deadline = time.monotonic() + WITHIN_S
    while len(_joined(alice, room.room_id)) < 7:
        assert time.monotonic() < deadline, f"only {_joined(alice, room.room_id)} are there"
        time.sleep(0.2)
    alice.say(room.room_id, "here I am")


def _join(client: MatrixClient, room_id: str) -> None:
    try:
        client.post(f"/join/{quoted(room_id)}", {}, expect=None)
    except (OSError, MatrixError):
        """The server was killed meanwhile."""


def _joined(client: MatrixClient, room_id: str) -> set[str]:
    answer = client.get(f"/rooms/{quoted(room_id)}/joined_members", expect=None)
    return set(answer.json.get("joined", ())) if answer.status == 200 else set()
