"""Long-polling: what ends it, and what does not; and tokens that outlive the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support import database
from tests.support.client import MatrixClient, quoted
from tests.support.server import ServerProcess
from tests.support.sync_answers import bodies_in, room_in, types_in

LONG_MS = 20_000


@contextmanager
def waiting(client: MatrixClient, **query: Any) -> Iterator[Future[Any]]:
    """A sync that waits, begun in a thread of its own."""
    # Presence would be news too.
    query["set_presence"] = "offline"
    client.sync(set_presence="offline")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.sync, timeout_ms=LONG_MS, **query)
        # Long enough for the request to have arrived; were it not, the answer would come all the same.
        threading.Event().wait(0.2)
        assert not answer.done()
        yield answer


def quickly(answer: Future[Any]) -> Any:
    return answer.result(timeout=LONG_MS / 2000)


def test_a_message_ends_the_waiting(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    with waiting(bob) as answer:
        alice.say(room, "hello")
        assert bodies_in(room_in(quickly(answer), room)) == ["hello"]


def test_an_invitation_ends_it(alice: MatrixClient, bob: MatrixClient) -> None:
    with waiting(bob) as answer:
        room = alice.create_room(invite=[bob.user_id])
        assert room_in(quickly(answer), room, "invite")


def test_being_removed_ends_it(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    with waiting(bob) as answer:
        alice.kick(room, bob.user_id)
        assert room_in(quickly(answer), room, "leave")


@pytest.mark.parametrize("part", ["m.typing", "m.receipt"])
def test_ephemeral_events_end_it(alice: MatrixClient, bob: MatrixClient, room: str, part: str) -> None:
    event_id = alice.say(room, "hello")
    act: dict[str, Callable[[], object]] = {
        "m.typing": lambda: alice.put(
            f"/rooms/{quoted(room)}/typing/{quoted(alice.user_id)}", {"typing": True, "timeout": 9000}
        ),
        "m.receipt": lambda: alice.post(f"/rooms/{quoted(room)}/receipt/m.read/{quoted(event_id)}"),
    }
    with waiting(bob) as answer:
        act[part]()
        assert types_in(room_in(quickly(answer), room), "ephemeral") == [part]


def test_account_data_of_another_device_ends_it(alice: MatrixClient) -> None:
    with waiting(alice) as answer:
        alice.copy().put(f"/user/{quoted(alice.user_id)}/account_data/org.example.x", {"y": 1})
        assert quickly(answer).json["account_data"]["events"] == [{"type": "org.example.x", "content": {"y": 1}}]


def test_what_a_filter_keeps_out_does_not_end_it(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    other = alice.create_room()
    bob_elsewhere = {"room": {"not_rooms": [room]}, "presence": {"types": []}}
    with waiting(bob, filter=bob_elsewhere) as answer:
        alice.say(room, "hello")
        alice.say(other, "hello")
        threading.Event().wait(0.3)
        assert not answer.done()
        alice.invite(other, bob.user_id)
        assert room_in(quickly(answer), other, "invite")


def test_the_timeout_ends_it_with_nothing(alice: MatrixClient) -> None:
    alice.sync()
    alice.sync(timeout_ms=500)
    begun = time.monotonic()
    answer = alice.sync(timeout_ms=500, set_presence="offline")
    assert 0.4 < time.monotonic() - begun < 10
    assert set(answer.json) == {"next_batch"}


def test_logging_out_ends_it(alice: MatrixClient) -> None:
    phone = alice.another()
    phone.login(alice.user_id)
    with waiting(phone, expect=401) as answer:
        alice.delete(f"/devices/{quoted(phone.device_id)}", {"auth": alice.with_password()})
        assert quickly(answer).json["errcode"] == "M_UNKNOWN_TOKEN"
    alice.sync()
    phone.close()


@pytest.mark.parametrize("since", ["nonsense", "s1", "s999999999_0_0_0_0_0_0_0", "t1-1", "s-1_0", "s1_" * 40])
def test_a_token_that_is_none_is_refused(alice: MatrixClient, since: str) -> None:
    answer = alice.sync(since=since, expect=None)
    if since == "s1":
        assert answer.status == 200
    else:
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
        assert "since" in answer.json["error"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "-1"), ("timeout", "soon"), ("set_presence", "dancing"), ("full_state", "perhaps"),
        ("filter", "{"), ("filter", '{"room": []}'), ("filter", "999999"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_named(alice: MatrixClient, name: str, value: str) -> None:
    answer = alice.get("/sync", query={name: value}, validate=False, expect={400, 404})
    assert answer.json["errcode"].startswith("M_")
    assert name.split("_")[0] in answer.json["error"] or "room" in answer.json["error"]


@pytest.mark.parametrize("engine", database.ENGINES)
def test_a_token_goes_on_after_a_restart(engine: database.EngineName, request: pytest.FixtureRequest) -> None:
    if engine == "psycopg2":
        request.getfixturevalue("postgres")
    place = database.fresh(engine, migrated=False)
    server = ServerProcess(place).start()
    try:
        alice, bob = server.new_client(), server.new_client()
        room = alice.create_room(invite=[bob.user_id])
        bob.join(room)
        lazy = {"room": {"state": {"lazy_load_members": True}}}
        bob.sync(filter=lazy)
        alice.say(room, "before")
        server.restart()
        for client in (alice, bob):
            client.close()
        alice.say(room, "after")
        alice.put(f"/rooms/{quoted(room)}/typing/{quoted(alice.user_id)}", {"typing": True, "timeout": 9000})
        found = room_in(bob.sync(filter=lazy), room)
        assert (bodies_in(found), found["timeline"]["limited"]) == (["before", "after"], False)
        assert types_in(found, "ephemeral") == ["m.typing"]
        assert found["unread_notifications"]["notification_count"] == 2
        bob.sync(filter=lazy)
        alice.say(room, "later")
        assert bodies_in(room_in(bob.sync(filter=lazy, timeout_ms=5000), room)) == ["later"]
        for client in (alice, bob):
            client.close()
    finally:
        server.stop()
        place.drop()
