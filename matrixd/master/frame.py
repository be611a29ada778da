"""What all parts of the master are built on, and where they register what they serve and what they do by themselves."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from matrixd.config import Config
from matrixd.http.kit.dispatch import Servers
from matrixd.http.kit.route import Route
from matrixd.queries.authentication import Authenticator
from matrixd.queries.feed import Feed
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.storage.database import Database
from matrixd.util.clock import SystemClock
from matrixd.util.lru import CacheBudget
from matrixd.util.ratelimit import RateLimiter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again; `run` may fail, and is tried again the next time."""

    name: str
    seconds: float
    run: Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Frame:
    """The common ground of the parts."""

    config: Config
    #: Twisted's reactor; zope's interfaces mean nothing to the type checker.
    reactor: Any
    clock: SystemClock
    budget: CacheBudget
    database: Database
    feed: Feed
    authenticator: Authenticator
    user_rooms: UserRoomsIndex
    #: By the name of the resource (`client`, `federation`, …) that a listener serves.
    routes: dict[str, list[Route]] = field(default_factory=dict)
    limiters: dict[str, RateLimiter] = field(default_factory=dict)
    #: How other servers are authenticated; None as long as nothing is served to them.
    servers: Servers | None = None
    capabilities: dict[str, Mapping[str, object]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    #: What each part does before the first request is served.
    at_start: list[Callable[[], Awaitable[object]]] = field(default_factory=list)
    #: What each part finishes before the database is closed.
    at_stop: list[Callable[[], Awaitable[object]]] = field(default_factory=list)

    def serve(self, resource: str, *groups: list[Route]) -> None:
        """Serve routes on the listeners of a resource."""
        for group in groups:
            self.routes.setdefault(resource, []).extend(group)

    def is_local(self, user_id: str) -> bool:
        """Whether a user is of this server."""
        return user_id.partition(":")[2] == self.config.server.server_name

    def start_jobs(self) -> list[LoopingCall]:
        """Begin what is done again and again."""
        return [_start(job, self.reactor) for job in self.jobs]


def _start(job: Job, reactor: Any) -> LoopingCall:
    def run() -> Deferred[object]:
        async def attempt() -> object:
            return await job.run()

        return Deferred.fromCoroutine(attempt()).addErrback(
            lambda failure: logger.error("%s failed: %s", job.name, failure.getTraceback())
        )

    loop = LoopingCall(run)
    loop.clock = reactor
    loop.start(job.seconds, now=False)
    return loop
