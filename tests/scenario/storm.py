"""What befalls a room in the storm: random deeds of its members on every server, faults of network and servers."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.support.client import MatrixClient
from tests.support.exchange import Answer
from tests.support.federation.network import Passage
from tests.support.federation.servers import FederatedServer, Servers

#: What a client may be told in a storm. 500 is not among them: it says that the server is at fault.
BEARABLE = frozenset({200, 400, 403, 404, 408, 429, 502, 503, 504})
CUSTOM_STATE = "org.example.state"
_JOIN_RULES = ("public", "public", "invite", "knock")


@dataclass
class Crowd:
    """A server's members of the room: the first stays, is an administrator, and nobody may do anything to him."""

    server: FederatedServer
    clients: list[MatrixClient]

    @property
    def admin(self) -> MatrixClient:
        """The one who stays."""
        return self.clients[0]

    @property
    def others(self) -> list[MatrixClient]:
        """Those who come and go."""
        return self.clients[1:]


@dataclass
class Deeds:
    """What one server's members do, in a thread of its own, until it is stopped."""

    crowd: Crowd
    everybody: list[str]
    room_id: str
    chance: random.Random
    acknowledged: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    broken_connections: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _choices(self) -> Sequence[tuple[int, Callable[[MatrixClient], None]]]:
        return (
            (12, self._say),
            (4, self._topic),
            (6, self._custom_state),
            (3, self._power),
            (1, self._join_rules),
            (2, self._ban),
            (2, self._unban),
            (2, self._kick),
            (2, self._invite),
            (4, self._join),
            (3, self._leave),
            (2, self._redact),
        )

    def start(self) -> Deeds:
        """Begins."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Lets the last deed end. Raises AssertionError when it does not, or when something went wrong."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a request hangs"
        assert not self.problems, self.problems

    def _run(self) -> None:
        weights, deeds = zip(*self._choices(), strict=True)
        try:
            while not self._stopping.wait(self.chance.uniform(0.0, 0.06)):
                (deed,) = self.chance.choices(deeds, weights)
                actor = self.chance.choice(self.crowd.clients)
                try:
                    deed(actor)
                except (OSError, http.client.HTTPException):
                    self.broken_connections += 1
                    actor.close()
                    time.sleep(0.1)
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")

    def _done(self, answer: Answer, *, makes_event: bool = False) -> None:
        self.statuses[answer.status] += 1
        assert answer.status in BEARABLE, f"{answer.method} {answer.target}: {answer.status} {answer.body!r}"
        if makes_event and answer.status == 200:
            self.acknowledged.add(str(answer["event_id"]))

    def _victim(self) -> str:
        return self.chance.choice(self.everybody)

    def _say(self, actor: MatrixClient) -> None:
        self._done(actor.send(self.room_id, f"line {self.chance.random()}", expect=None), makes_event=True)

    def _topic(self, actor: MatrixClient) -> None:
        kind = self.chance.choice(["topic", "name"])
        content = {kind: f"{kind} {self.chance.random()}"}
        self._done(actor.set_state(self.room_id, f"m.room.{kind}", content, expect=None), makes_event=True)

    def _custom_state(self, actor: MatrixClient) -> None:
        content, key = {"value": self.chance.randrange(1000)}, str(self.chance.randrange(4))
        self._done(actor.set_state(self.room_id, CUSTOM_STATE, content, key, expect=None), makes_event=True)

    def _power(self, actor: MatrixClient) -> None:
        actor = self.crowd.admin if self.chance.random() < 0.7 else actor
        answer = actor.state_content(self.room_id, "m.room.power_levels", expect=None)
        self._done(answer)
        if answer.status != 200:
            return
        levels = dict(answer.json)
        if self.chance.random() < 0.7:
            levels["users"] = {**levels.get("users", {}), self._victim(): self.chance.choice([0, 25, 50, 60])}
        else:
            levels[self.chance.choice(["state_default", "kick", "invite"])] = self.chance.choice([0, 25, 50])
        self._done(actor.set_state(self.room_id, "m.room.power_levels", levels, expect=None), makes_event=True)

    def _join_rules(self, actor: MatrixClient) -> None:
        rule = {"join_rule": self.chance.choice(_JOIN_RULES)}
        self._done(actor.set_state(self.room_id, "m.room.join_rules", rule, expect=None), makes_event=True)

    def _ban(self, actor: MatrixClient) -> None:
        self._done(actor.ban(self.room_id, self._victim(), expect=None))

    def _unban(self, actor: MatrixClient) -> None:
        self._done(actor.unban(self.room_id, self._victim(), expect=None))

    def _kick(self, actor: MatrixClient) -> None:
        self._done(actor.kick(self.room_id, self._victim(), expect=None))

    def _invite(self, actor: MatrixClient) -> None:
        self._done(actor.invite(self.room_id, self._victim(), expect=None))

    def _join(self, _actor: MatrixClient) -> None:
        self._done(self.chance.choice(self.crowd.others).join(self.room_id, expect=None))

    def _leave(self, _actor: MatrixClient) -> None:
        self._done(self.chance.choice(self.crowd.others).leave(self.room_id, expect=None))

    def _redact(self, actor: MatrixClient) -> None:
        if self.acknowledged:
            event_id = self.chance.choice(sorted(self.acknowledged))
            self._done(actor.redact(self.room_id, event_id, expect=None), makes_event=True)


@dataclass
class Visits(Deeds):
    """What those of a server who come and go do in a room that has nobody else of this server: each first one who
    comes joins through another server, and with the last one the server leaves."""

    via: str = ""

    def _choices(self) -> Sequence[tuple[int, Callable[[MatrixClient], None]]]:
        return ((4, self._say), (1, self._custom_state), (3, self._join), (2, self._leave), (1, self._wait))

    def _join(self, _actor: MatrixClient) -> None:
        visitor = self.chance.choice(self.crowd.others)
        self._done(visitor.join(self.room_id, query={"via": self.via}, expect=None))

    def _wait(self, _actor: MatrixClient) -> None:
        time.sleep(0.2)


class Weather:
    """Faults, one after the other, for some time; afterwards everything runs and is connected again."""

    def __init__(self, servers: Servers, chance: random.Random) -> None:
        self._servers = servers
        self._network = servers.network
        self._chance = chance
        self.story: list[str] = []

    def rage(self, seconds: float) -> None:
        """Blocks for so long, and a little longer."""
        end = time.monotonic() + seconds
        faults = [self._delay, self._part, self._isolate, self._one_way, self._heal, self._kill]
        while time.monotonic() < end:
            self._chance.choice(faults)()
            time.sleep(self._chance.uniform(0.1, 0.8))
        self._network.heal()
        self._servers.start()

    def _name(self) -> str:
        return self._chance.choice(list(self._servers)).server_name

    def _pair(self) -> tuple[str, str]:
        one, other = self._chance.sample(list(self._servers), 2)
        return one.server_name, other.server_name

    def _passage(self) -> Passage:
        return self._chance.choice([Passage.REFUSED, Passage.SILENT])

    def _tell(self, what: str) -> None:
        self.story.append(f"{time.strftime('%H:%M:%S')} {what}")

    def _delay(self) -> None:
        longest = self._chance.choice([0.01, 0.05, 0.2])
        self._tell(f"delay up to {longest} s")
        self._network.delay(0.0, longest)

    def _part(self) -> None:
        one, other, passage = *self._pair(), self._passage()
        self._tell(f"part {one} {other} {passage.value}")
        self._network.part(one, other, passage)

    def _isolate(self) -> None:
        name, passage = self._name(), self._passage()
        self._tell(f"isolate {name} {passage.value}")
        self._network.isolate(name, passage)

    def _one_way(self) -> None:
        one, other, passage = *self._pair(), self._passage()
        self._tell(f"close {one} to {other} {passage.value}")
        self._network.close_link(one, other, passage)

    def _heal(self) -> None:
        self._tell("heal")
        self._network.heal()

    def _kill(self) -> None:
        server = self._chance.choice(list(self._servers))
        self._tell(f"kill {server.server_name}")
        server.kill()
        time.sleep(self._chance.uniform(0.0, 0.5))
        server.start()
        self._tell(f"{server.server_name} runs again")
