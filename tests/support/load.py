"""Senders that keep on until every message is acknowledged, and the proof that each is in the room exactly once."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.support.client import MatrixClient, unique

# What tells a client to try the same request again. 500 is not among them: it says that the server is at fault.
RETRIABLE = frozenset({429, 502, 503, 504})
PAUSE_S = 0.1


@dataclass
class Load:
    """Threads that send numbered messages into a room, each again with the same transaction ID until it is answered."""

    clients: list[MatrixClient]
    room_id: str
    acknowledged: dict[str, str] = field(default_factory=dict)
    refusals: Counter[int] = field(default_factory=Counter)
    broken_connections: int = 0
    slowest_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send_on, args=(client,), daemon=True) for client in self.clients]

    def start(self) -> Load:
        """Begins to send."""
        for thread in self._threads:
            thread.start()
        return self

    def wait_for(self, more: int, within_s: float = 60.0) -> None:
        """Returns when ``more`` further messages were acknowledged. Raises AssertionError when they were not."""
        wanted = len(self.acknowledged) + more
        deadline = time.monotonic() + within_s
        while len(self.acknowledged) < wanted:
            assert not self.problems, self.problems
            assert time.monotonic() < deadline, f"{within_s} s without {more} more acknowledgements: {self}"
            time.sleep(0.01)

    def wait_for_refusal(self, within_s: float = 60.0) -> None:
        """Returns when a further request was refused as retriable or lost its connection."""
        before = self.refusals.total() + self.broken_connections
        deadline = time.monotonic() + within_s
        while self.refusals.total() + self.broken_connections == before:
            assert not self.problems, self.problems
            assert time.monotonic() < deadline, f"{within_s} s without a refusal: {self}"
            time.sleep(0.01)

    def stop(self, within_s: float = 60.0) -> None:
        """Lets each sender finish its message and ends. Raises AssertionError with what went wrong, if anything did."""
        self._stopping.set()
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not self.problems, self.problems
        assert not any(thread.is_alive() for thread in self._threads), f"messages stay unacknowledged: {self}"

    def check_room(self) -> None:
        """Every acknowledged message is in the room's history once, under its event ID, and no other is twice."""
        bodies: Counter[str] = Counter()
        found: dict[str, str] = {}
        for event in self.clients[0].history(self.room_id, limit=100):
            if event["type"] == "m.room.message":
                bodies[event["content"]["body"]] += 1
                found[event["content"]["body"]] = event["event_id"]
        assert [body for body, count in bodies.items() if count > 1] == [], "events were doubled"
        lost = {body: event_id for body, event_id in self.acknowledged.items() if found.get(body) != event_id}
        assert lost == {}, "acknowledged events are not there under the ID that was acknowledged"

    def _send_on(self, client: MatrixClient) -> None:
        try:
            while not self._stopping.is_set():
                self._send(client, unique("message "))
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")

    def _send(self, client: MatrixClient, body: str) -> None:
        txn_id = unique("txn")
        while True:
            began = time.monotonic()
            try:
                answer = client.send(self.room_id, body, txn_id=txn_id, expect=None)
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.broken_connections += 1
                time.sleep(PAUSE_S)
                continue
            with self._lock:
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                if answer.status == 200:
                    self.acknowledged[body] = answer["event_id"]
                    return
                self.refusals[answer.status] += 1
            assert answer.status in RETRIABLE, f"{answer.status} does not say that one may retry: {answer.body!r}"
            time.sleep(PAUSE_S)
