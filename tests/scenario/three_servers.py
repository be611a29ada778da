"""Three servers in a storm: delays, partitions and kill -9 while members of a room do what they like, and then calm.

After it every server must have the same events and the same state. A seed says what is done (not when it arrives, so
a seed need not fail each time). Run as a program it tries many seeds:

    python -m tests.scenario.three_servers --seeds 0-300 --jobs 2
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.scenario.storm import Crowd, Deeds, Visits, Weather
from tests.support import database, run
from tests.support.client import MatrixClient
from tests.support.federation.copies import (
    Copy,
    different_state,
    missing,
    read_copies,
    wait_until,
    wait_until_same,
)
from tests.support.federation.servers import FederatedServer, Servers, federated

SERVERS = 3
VERSIONS = ("6", "10", "11", "12", "2")
STORM_S = 4.0
JOIN_WITHIN_S = 60.0
#: Some seconds are enough, unless the machine has much else to do.
CALM_WITHIN_S = 180.0
CLIENT_TIMEOUT_S = 30.0


@dataclass
class Trial:
    """One seed."""

    seed: int
    storm_s: float = STORM_S
    story: list[str] = field(default_factory=list)
    summary: str = ""

    def run(self) -> None:
        """Raises AssertionError with what went wrong, and where the servers' files were copied to."""
        chance = random.Random(self.seed)
        # Each engine is now the majority, now not, and makes the room or joins it.
        places = [database.fresh(database.ENGINES[(self.seed + number) % 2]) for number in range(SERVERS)]
        try:
            with federated(places, seed=self.seed) as servers:
                try:
                    self._storm_and_calm(servers, chance)
                except Exception as error:
                    kept = self._keep(servers)
                    raise AssertionError(f"seed {self.seed}: {error}\nThe servers' files: {kept}") from error
        finally:
            for place in places:
                place.drop()

    def _storm_and_calm(self, servers: Servers, chance: random.Random) -> None:
        version = VERSIONS[self.seed // 2 % len(VERSIONS)]
        crowds = [_crowd(server) for server in servers]
        room_id = _room(crowds, version)
        joins = _everything(servers, room_id)
        _speak_in_turn(servers, crowds, room_id, joins)
        before = wait_until_same(servers, room_id, within_s=JOIN_WITHIN_S, known_before=joins)
        known_before = frozenset().union(*(copy.events for copy in before))
        inn = _inn(crowds, version)
        everybody = [client.user_id for crowd in crowds for client in crowd.others]
        deeds = [Deeds(crowd, everybody, room_id, random.Random(chance.random())).start() for crowd in crowds]
        innkeeper = crowds[0].server.server_name
        visits = [Visits(crowd, everybody, inn, random.Random(chance.random()), via=innkeeper) for crowd in crowds[1:]]
        for visit in visits:
            visit.start()
        weather = Weather(servers, random.Random(chance.random()))
        self.story = weather.story
        weather.rage(self.storm_s)
        for each in (*deeds, *visits):
            each.stop()
        for client in (client for crowd in crowds for client in crowd.clients):
            # Its connection may be one to a server that was killed.
            client.close()
        began = time.monotonic()
        self._is_calm(servers, crowds, deeds, room_id, known_before)
        self._visitors_agree(servers, crowds, inn)
        self._summarise(version, [*deeds, *visits], room_id, servers, time.monotonic() - began)

    def _is_calm(
        self, servers: Servers, crowds: list[Crowd], deeds: list[Deeds], room_id: str, known_before: frozenset[str]
    ) -> None:
        acknowledged = frozenset().union(*(each.acknowledged for each in deeds))
        # In silence every event reaches every server: nobody needs to say anything for it.
        faults = partial(missing, wanted=acknowledged, known_before=known_before)
        wait_until(servers, room_id, faults, CALM_WITHIN_S)
        _speak_in_turn(servers, crowds, room_id, known_before)
        copies = wait_until_same(servers, room_id, within_s=CALM_WITHIN_S, known_before=known_before)
        for crowd, copy in zip(crowds, copies, strict=True):
            _clients_see(crowd.admin, room_id, copy)

    def _visitors_agree(self, servers: Servers, crowds: list[Crowd], inn: str) -> None:
        # Whose join got no answer may have entered all the same, and tries again as any client does.
        for client in _in_doubt(crowds, read_copies(servers, inn)):
            client.join(inn, query={"via": crowds[0].server.server_name})
        # Whoever came or left did so for both servers.
        copies = wait_until(servers, inn, partial(_memberships, crowds), CALM_WITHIN_S)
        there = [
            (crowd, next(client for client in crowd.clients if copies[0].membership(client.user_id) == "join"))
            for crowd in crowds
            if any(copies[0].membership(client.user_id) == "join" for client in crowd.clients)
        ]
        present = [crowd.server for crowd, _ in there]
        for _, client in (*there, there[0]):
            said = frozenset([client.say(inn, "is anybody else here?")])
            wait_until(present, inn, partial(_not_heard, said), CALM_WITHIN_S)
        wait_until(present, inn, different_state, CALM_WITHIN_S)

    def _summarise(
        self, version: str, deeds: list[Deeds], room_id: str, servers: Servers, calm_after_s: float
    ) -> None:
        copies = read_copies(servers, room_id)
        verdicts = Counter(mark.verdict for copy in copies for mark in copy.events.values() if mark.verdict)
        statuses = sum((each.statuses for each in deeds), Counter[int]())
        broken = sum(each.broken_connections for each in deeds)
        self.summary = (
            f"version {version}, {len(copies[0].events)} events, {dict(verdicts)}, "
            f"answers {dict(sorted(statuses.items()))}, {broken} broken connections, calm after {calm_after_s:.1f} s"
        )

    def _keep(self, servers: Servers) -> Path:
        servers.kill()
        kept = Path(tempfile.mkdtemp(prefix=f"three-servers-{self.seed}-"))
        (kept / "story.txt").write_text("\n".join([*self.story, traceback.format_exc()]))
        for number, server in enumerate(servers):
            target = kept / f"{number}-{server.server_name.replace(':', '-')}"
            shutil.copytree(server.directory, target, ignore=shutil.ignore_patterns("media"))
            if server.database.name == "sqlite3":
                shutil.copytree(Path(server.database.args["database"]).parent, target / "database")
            elif server.database.cluster is not None:
                server.database.cluster.dump(str(server.database.args["dbname"]), target / "database.sql")
        return kept


def _crowd(server: FederatedServer) -> Crowd:
    names = ("admin", "mod", "user")
    return Crowd(server, [_patient(server.new_client(name)) for name in names])


def _patient(client: MatrixClient) -> MatrixClient:
    client.timeout = CLIENT_TIMEOUT_S
    return client


def _room(crowds: list[Crowd], version: str) -> str:
    creator = crowds[0].admin
    users = {crowd.admin.user_id: 100 for crowd in crowds if version != "12" or crowd.admin is not creator}
    users |= {crowd.others[0].user_id: 50 for crowd in crowds}
    room_id = creator.create_room(
        preset="public_chat", room_version=version, power_level_content_override={"users": users}
    )
    via = crowds[0].server.server_name
    for crowd in crowds:
        for client in crowd.clients:
            if client is not creator:
                client.join(room_id, query={"via": via})
    return room_id


def _speak_in_turn(servers: Servers, crowds: list[Crowd], room_id: str, known_before: frozenset[str]) -> None:
    # Not every server is told of every end of the room: of an event that it soft-failed, or of one that was sent
    # when its sender did not know yet of the server. Only who builds on such an end makes it known.
    for crowd in (*crowds, crowds[0]):
        said = frozenset([crowd.admin.say(room_id, "here we are")])
        wait_until(servers, room_id, partial(missing, wanted=said, known_before=known_before), CALM_WITHIN_S)


def _inn(crowds: list[Crowd], version: str) -> str:
    # Where users of the other servers come and go: only the first server always has somebody there.
    levels = {"state_default": 0, "events_default": 0}
    return crowds[0].admin.create_room(
        preset="public_chat", room_version=version, power_level_content_override=levels
    )


def _in_doubt(crowds: list[Crowd], copies: list[Copy]) -> list[MatrixClient]:
    return [
        client
        for crowd, own in zip(crowds, copies, strict=True)
        for client in crowd.clients
        if copies[0].membership(client.user_id) == "join" != own.membership(client.user_id)
    ]


def _memberships(crowds: list[Crowd], copies: list[Copy]) -> list[str]:
    inn = copies[0]
    return [
        f"{client.user_id}: {own.membership(client.user_id)} at home, {inn.membership(client.user_id)} at the inn"
        for crowd, own in zip(crowds, copies, strict=True)
        for client in crowd.clients
        if own.membership(client.user_id) != inn.membership(client.user_id)
    ]


def _not_heard(said: frozenset[str], copies: list[Copy]) -> list[str]:
    return [f"{copy.server_name} has not heard {said - copy.accepted()}" for copy in copies if said - copy.accepted()]


def _everything(servers: Servers, room_id: str) -> frozenset[str]:
    return frozenset().union(*(copy.events for copy in read_copies(servers, room_id)))


def _clients_see(client: MatrixClient, room_id: str, copy: Copy) -> None:
    seen = {(event["type"], event["state_key"]): event["event_id"] for event in client.state(room_id)}
    assert seen == dict(copy.state), f"{copy.server_name} tells its clients another state than it stores"


def _try_seed(seed: int, storm_s: float) -> tuple[int, bool, str]:
    trial = Trial(seed, storm_s)
    try:
        trial.run()
    except Exception as error:
        return seed, False, str(error)
    return seed, True, trial.summary


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> int:
    """Tries the seeds, prints a line for each, and returns 1 when one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=_seeds, default=_seeds("0-9"), metavar="FIRST-LAST")
    parser.add_argument("--jobs", type=int, default=1, help="how many seeds at the same time")
    parser.add_argument("--storm", type=float, default=STORM_S, metavar="SECONDS", help="how long each storm lasts")
    given = parser.parse_args()
    failed = []
    directory = run.begin()
    try:
        with ProcessPoolExecutor(given.jobs) as pool:
            for seed, passed, said in pool.map(_try_seed, given.seeds, [given.storm] * len(given.seeds)):
                print(f"seed {seed}: {'ok' if passed else 'FAILED'}: {said}", flush=True)
                failed += [] if passed else [seed]
    finally:
        run.end(directory)
    print(f"{len(given.seeds) - len(failed)} of {len(given.seeds)} seeds passed; failed: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
