"""The composition root: builds every part of the master and wires it. Nothing else knows how the parts fit together."""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.task import LoopingCall

from matrixd.config import Config
from matrixd.core.signing import SigningKey
from matrixd.core.streams import Stream
from matrixd.http.client.versions import Versions
from matrixd.http.kit.dispatch import Dispatcher
from matrixd.http.kit.metrics import RequestMetrics
from matrixd.http.kit.route import Router
from matrixd.master.accounts import Accounts, build_accounts
from matrixd.master.backfill import build_backfill
from matrixd.master.check import serve_check
from matrixd.master.federation import build_federation, serve_federation
from matrixd.master.frame import Frame, Job
from matrixd.master.metrics import serve_metrics
from matrixd.master.old_sync import serve_old_sync
from matrixd.master.public import client_discovery, serve_public
from matrixd.master.remote_reads import build_remote_reads
from matrixd.master.remote_rooms import Ours, Receiving, build_remote_rooms
from matrixd.master.room_reads import serve_room_reads
from matrixd.master.rooms import build_rooms
from matrixd.master.spaces import serve_spaces
from matrixd.master.syncing import build_reads, serve_sync
from matrixd.master.user_data import UserData, build_user_data
from matrixd.net.metrics import FederationClientMetrics
from matrixd.net.remote_peers import RemotePeers
from matrixd.queries.authentication import Authenticator
from matrixd.queries.feed import Feed
from matrixd.queries.member_rulesets import MemberRulesets
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.services.auth_edge_index import AuthEdgeIndex
from matrixd.services.event_effects import EventEffects
from matrixd.services.persister import Persister
from matrixd.services.policy_servers import PolicyServers
from matrixd.services.read_cleanup import ReadCleanup
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import RoomLanes
from matrixd.storage import account_data, filters, presence, profiles, push_rules, to_device, transactions
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Engine, Unavailable
from matrixd.storage.rows import DeviceDeleted
from matrixd.util.clock import SystemClock
from matrixd.util.lru import CacheBudget

logger = logging.getLogger(__name__)

_MINUTE = 60.0
#: A day: as long as a client may take to send a request again (client-server API, "Transaction identifiers").
_TRANSACTION_LIFETIME_MS = 24 * 60 * 60 * 1000


@dataclass(slots=True)
class Master:
    """The running parts of a master that its process needs to know."""

    frame: Frame
    accounts: Accounts
    user_data: UserData
    #: By the resources that a listener serves.
    dispatchers: Mapping[frozenset[str], Dispatcher]
    _running: Sequence[LoopingCall] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The database."""
        return self.frame.database

    @property
    def feed(self) -> Feed:
        """The positions of the streams."""
        return self.frame.feed

    @property
    def authenticator(self) -> Authenticator:
        """Who remembers access tokens."""
        return self.frame.authenticator

    async def start(self) -> None:
        """Begin the work that goes on by itself, and go on with what the last process did not finish."""
        for begin in self.frame.at_start:
            await begin()
        self._running = self.frame.start_jobs()
        await self.accounts.deactivation.resume()
        await self.user_data.profiles.resume()

    async def stop(self) -> None:
        """Finish what is under way."""
        for loop in self._running:
            loop.stop()
        for finish in self.frame.at_stop:
            try:
                await finish()
            except Unavailable as error:
                logger.warning("stopping without the database: %s", error)
        self.database.stop()


def build(config: Config, reactor: Any, engine: Engine) -> Master:
    """Every part of the master, ready to be started. Raises `Claimed` if another master has the database."""
    frame = _frame(config, reactor, engine)
    reads = build_reads(frame)
    heads = RoomHeads(frame.database, frame.budget, frame.is_local)
    persister = Persister(frame.database, frame.clock)
    effects = EventEffects(
        config.server.server_name, heads, MemberRulesets(frame.database, frame.feed, frame.budget)
    )
    federation = build_federation(frame, heads, persister, effects)
    lanes = _lanes(frame, heads, persister, effects, federation.policies)
    remote_rooms = build_remote_rooms(
        frame, heads, lanes, RemotePeers(federation.client),
        Receiving(federation.checks, federation.keys, federation.receiver, federation.out_of_band),
        Ours(config.server.server_name, federation.signing_key, _new_event_id(config.server.server_name)),
    )
    remote_reads = build_remote_reads(frame, federation.client, federation.anchors)
    rooms = build_rooms(frame, heads, lanes, remote_rooms, remote_reads.directories)
    accounts = build_accounts(
        config,
        frame.database,
        frame.clock,
        frame.feed,
        frame.authenticator,
        leave_all_rooms=rooms.leaving.leave_all_rooms,
        delete_with_devices=(to_device.delete_of_devices,),
        delete_data=(account_data.remove_user, push_rules.remove_user, filters.remove_user, presence.remove_user),
        erase_data=(profiles.delete_all,),
        well_known=client_discovery(config.server),
    )
    frame.serve("client", list(accounts.routes))
    frame.limiters.update(accounts.limiters)
    frame.jobs.append(Job("the expiry of accounts' tokens and sessions", _MINUTE, accounts.expiry.run))
    frame.jobs.append(Job("writing when users were last seen", _MINUTE, accounts.last_seen.flush))
    frame.jobs.append(Job("the expiry of transaction IDs", 60 * _MINUTE, lambda: _expire_transactions(frame)))
    frame.at_start.append(AuthEdgeIndex(frame.database).fill)
    frame.jobs.append(Job("removing what was read", 60 * _MINUTE, ReadCleanup(frame.database).run))
    frame.jobs.append(Job("leaving the rooms of ended accounts", 60 * _MINUTE, accounts.deactivation.resume))
    frame.at_stop.append(accounts.last_seen.flush)
    user_data = build_user_data(
        frame, reads, rooms.shown_profiles.update_member_events, remote_reads.profiles
    )
    frame.feed.subscribe(
        DeviceDeleted, lambda row: user_data.presence.logged_out(row.user_nid, row.device_nid)
    )
    serve_sync(frame, reads, user_data.presence)
    serve_old_sync(frame, reads, user_data.presence)
    graphs = build_backfill(frame, heads, lanes, federation)
    serve_room_reads(frame, reads, remote_reads.jumps, graphs.backfill)
    serve_spaces(frame, rooms.aliases, remote_reads.directories.hierarchy)
    versions = Versions(config.rooms.default_room_version, frame.capabilities, accounts.capabilities)
    frame.serve("client", versions.routes())
    serve_public(frame)
    serve_check(frame)
    serve_federation(frame, federation, heads, lanes, user_data, reads.erased_users, remote_rooms.inviting)
    metrics = serve_metrics(
        frame, lambda: persister.waiting, federation.sending.metrics, FederationClientMetrics(federation.client),
        graphs.metrics,
    )
    return Master(frame, accounts, user_data, _dispatchers(frame, accounts, metrics))


def _frame(config: Config, reactor: Any, engine: Engine) -> Frame:
    clock = SystemClock()
    budget = CacheBudget(config.memory.budget_bytes)
    database = Database(engine, reactor, readers=config.database.readers)
    database.start()
    feed = Feed(_positions(database, clock))
    database.on_commit = feed.append
    authenticator = Authenticator(database, clock, budget)
    user_rooms = UserRoomsIndex(database, feed, budget)
    return Frame(config, reactor, clock, budget, database, feed, authenticator, user_rooms)


def _lanes(
    frame: Frame, heads: RoomHeads, persister: Persister, effects: EventEffects, policies: PolicyServers
) -> RoomLanes:
    key = frame.config.keys.signing_keys[0]
    server_name = frame.config.server.server_name
    return RoomLanes(
        server_name,
        SigningKey.from_seed(key.version, key.encode()),
        heads,
        persister,
        frame.database,
        effects,
        policies,
        frame.clock,
        _new_event_id(server_name),
    )


def _new_event_id(server_name: str) -> Callable[[], str]:
    """Makes event IDs for rooms in which servers choose them."""
    return lambda: f"${secrets.token_urlsafe(18)}:{server_name}"


def _dispatchers(
    frame: Frame, accounts: Accounts, metrics: RequestMetrics | None
) -> dict[frozenset[str], Dispatcher]:
    served = {frozenset(listener.resources) for listener in frame.config.listeners}
    return {
        resources: Dispatcher(
            Router([route for resource in sorted(resources) for route in frame.routes.get(resource, [])]),
            frame.authenticator,
            frame.limiters,
            frame.clock,
            accounts.last_seen.note,
            metrics,
            frame.servers,
        )
        for resources in served
    }


async def _expire_transactions(frame: Frame) -> None:
    await frame.database.write(transactions.expire, frame.clock.now_ms() - _TRANSACTION_LIFETIME_MS)


def _positions(database: Database, clock: SystemClock) -> dict[Stream, int]:
    """Where each stream stands. Those that are not stored begin at the time, so that they never go back."""
    committed = database.counters.committed
    positions = {stream: committed.get(stream.label, 0) for stream in Stream}
    for stream in (Stream.TYPING, Stream.PRESENCE):
        positions[stream] = clock.now_ms()
    return positions

