"""kill -9 at random moments, also during the start, while clients send and listen.

``MATRIXD_KILLS`` (10) is how often, ``MATRIXD_SEED`` which moments; the seed of a failure is in its message.
"""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.support.client import MatrixClient
from tests.support.database import DatabasePlace
from tests.support.load import Load
from tests.support.server import ServerProcess

KILLS = int(os.environ.get("MATRIXD_KILLS", "10"))
SEED = int(os.environ.get("MATRIXD_SEED", str(random.SystemRandom().randrange(10**6))))
SENDERS = 6
#: So much of the kills comes while the server starts.
DURING_START = 0.3
WIDE = '{"room":{"timeline":{"limit":5000}}}'


class Listener(threading.Thread):
    """Follows a room by sync, and after each loss goes on from the last token that it has."""

    def __init__(self, client: MatrixClient, room_id: str) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._room_id = room_id
        self._since = str(client.sync()["next_batch"])
        self._stopping = threading.Event()
        self.heard: Counter[str] = Counter()
        self.problem: Exception | None = None

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._listen(2000)
        except Exception as error:
            self.problem = error

    def finish(self) -> None:
        """Hears what is left. Raises what went wrong."""
        self._stopping.set()
        self.join(60)
        assert self.problem is None, self.problem
        while self._listen(300):
            pass

    def _listen(self, timeout_ms: int) -> int:
        query = {"since": self._since, "timeout": str(timeout_ms), "filter": WIDE}
        try:
            answer = self._client.get("/sync", query=query, expect=(200, 503))
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
            return 1
        if answer.status != 200:
            return 1
        room = answer.json.get("rooms", {}).get("join", {}).get(self._room_id, {})
        timeline = room.get("timeline", {"events": []})
        assert not timeline.get("limited"), "a gap, although the filter is wide"
        self.heard.update(event["event_id"] for event in timeline["events"] if event["type"] == "m.room.message")
        self._since = str(answer["next_batch"])
        return len(timeline["events"])


def test_nothing_is_lost_or_doubled(
    durable_database: DatabasePlace, new_server: Callable[..., ServerProcess]
) -> None:
    chance = random.Random(SEED)
    server = new_server(durable_database)
    clients = [server.new_client() for _ in range(SENDERS)]
    room_id = clients[0].create_room(preset="public_chat")
    for client in clients[1:]:
        client.join(room_id)
    listener = Listener(clients[0].copy(), room_id)
    load = Load(clients, room_id).start()
    listener.start()
    for number in range(KILLS):
        if chance.random() < DURING_START:
            server.kill()
            server.launch()
            time.sleep(chance.uniform(0.2, 1.5))
        else:
            time.sleep(chance.uniform(0.0, 0.8))
        server.kill()
        server.start()
        assert not load.problems, f"seed {SEED}, kill {number}: {load.problems}"
    load.wait_for(30)
    load.stop()
    listener.finish()
    load.check_room()
    acknowledged = Counter(load.acknowledged.values())
    assert listener.heard == acknowledged, f"seed {SEED}: sync told something else than the history"
    assert server.stop() == 0
