"""The composition root: builds every part of the master and wires it. Nothing else knows how the parts fit together."""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.config import Config
from matrixd.core.push.evaluation import CompiledRuleset
from matrixd.core.signing import SigningKey
from matrixd.core.streams import Stream
from matrixd.http.client.versions import Versions
from matrixd.http.kit.dispatch import Dispatcher
from matrixd.http.kit.route import Route, Router
from matrixd.queries.authentication import Authenticator
from matrixd.queries.feed import Feed
from matrixd.services.persister import Persister
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import RoomLanes
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Engine
from matrixd.util.clock import SystemClock
from matrixd.util.lru import CacheBudget
from matrixd.util.ratelimit import RateLimiter


@dataclass(slots=True)
class Master:
    """The running parts of a master that its process needs to know."""

    database: Database
    feed: Feed
    authenticator: Authenticator
    #: By the resources that a listener serves.
    dispatchers: Mapping[frozenset[str], Dispatcher]

    async def start(self) -> None:
        """Begin the work that goes on by itself."""

    async def stop(self) -> None:
        """Finish what is under way."""
        self.database.stop()


def build(config: Config, reactor: Any, engine: Engine) -> Master:
    """Every part of the master, ready to be started. Raises `Claimed` if another master has the database."""
    clock = SystemClock()
    budget = CacheBudget(config.memory.budget_bytes)
    database = Database(engine, reactor, readers=config.database.readers)
    database.start()
    feed = Feed(_positions(database, clock))
    database.on_commit = feed.append
    authenticator = Authenticator(database, clock, budget)
    server_name = config.server.server_name
    heads = RoomHeads(database, budget, lambda user_id: user_id.partition(":")[2] == server_name)
    persister = Persister(database, clock)
    lanes = RoomLanes(
        server_name,
        SigningKey.from_seed(config.keys.signing_keys[0].version, config.keys.signing_keys[0].encode()),
        heads,
        persister,
        database,
        _NoRulesets(),
        clock,
        lambda: f"${secrets.token_urlsafe(18)}:{server_name}",
    )
    routes: dict[str, list[Route]] = {
        "client": Versions(config.rooms.default_room_version, {}).routes(),
    }
    limiters = {
        "message": RateLimiter(config.ratelimits.message),
    }
    return Master(
        database,
        feed,
        authenticator,
        {
            frozenset(listener.resources): Dispatcher(
                Router([route for resource in sorted(listener.resources) for route in routes.get(resource, [])]),
                authenticator,
                limiters,
                clock,
                lambda requester, ip, agent: None,
            )
            for listener in config.listeners
        },
    )


class _NoRulesets:
    async def for_room(self, room_id: str, members: Collection[str]) -> Mapping[str, CompiledRuleset]:
        return {}

    async def ignoring(self, sender: str, members: Collection[str]) -> Collection[str]:
        return ()


def _positions(database: Database, clock: SystemClock) -> dict[Stream, int]:
    """Where each stream stands. Those that are not stored begin at the time, so that they never go back."""
    committed = database.counters.committed
    positions = {stream: committed.get(stream.label, 0) for stream in Stream}
    for stream in (Stream.TYPING, Stream.PRESENCE):
        positions[stream] = clock.now_ms()
    return positions
