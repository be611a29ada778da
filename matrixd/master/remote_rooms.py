"""Builds what brings users of this server into rooms of other servers, and users of others into rooms of ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from matrixd.core.signing import SigningKey
from matrixd.master.frame import Frame, Job
from matrixd.services.handshakes.peers import InvitePeers, JoinPeers, KnockPeers, LeavePeers
from matrixd.services.handshakes.template import Templates
from matrixd.services.limits import Limit
from matrixd.services.out_of_band import OutOfBand
from matrixd.services.receiving.pdu_checks import KeyRing, PduChecks
from matrixd.services.receiving.receiver import Receiver
from matrixd.services.remote_inviting import RemoteInviting
from matrixd.services.remote_joining import RemoteJoining
from matrixd.services.remote_joins.checking import SnapshotChecks
from matrixd.services.remote_joins.cleanup import drop_old
from matrixd.services.remote_joins.completion import Completion
from matrixd.services.remote_joins.departures import Departures
from matrixd.services.remote_joins.filling import Filling
from matrixd.services.remote_joins.handshake import JoinHandshake
from matrixd.services.remote_joins.machine import RemoteJoins
from matrixd.services.remote_joins.room_import import RoomImport
from matrixd.services.remote_joins.vouched import VouchedJoins
from matrixd.services.remote_knocking import RemoteKnocking
from matrixd.services.remote_leaving import LeaveHandshake, RemoteLeaving
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import RoomLanes
from matrixd.util.ratelimit import RateLimiter

_MINUTE = 60.0
_DAY = 24 * 60 * 60.0


class Peers(JoinPeers, LeavePeers, KnockPeers, InvitePeers, Protocol):
    """Other servers."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What this server is to others."""

    server_name: str
    signing_key: SigningKey
    #: For rooms in which servers choose them.
    new_event_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Receiving:
    """What takes the events of other servers."""

    checks: PduChecks
    key_ring: KeyRing
    receiver: Receiver
    out_of_band: OutOfBand


@dataclass(frozen=True, slots=True)
class RemoteRooms:
    """What other parts need of it."""

    joining: RemoteJoining
    leaving: RemoteLeaving
    knocking: RemoteKnocking
    inviting: RemoteInviting
    joins: RemoteJoins


def build_remote_rooms(
    frame: Frame, heads: RoomHeads, lanes: RoomLanes, peers: Peers, receiving: Receiving, ours: Ours
) -> RemoteRooms:
    """Build it; joins that were under way go on when the server starts."""
    database, clock, reactor = frame.database, frame.clock, frame.reactor
    templates = Templates(ours.server_name, ours.signing_key, clock, ours.new_event_id)
    handshake = JoinHandshake(peers, templates, receiving.checks, ours.server_name)
    leave = LeaveHandshake(peers, templates)
    limit = Limit(RateLimiter(frame.config.ratelimits.joins_remote), clock, "You join rooms too often")
    checks = SnapshotChecks(database, receiving.checks)
    departures = Departures(lanes, leave)
    joins = RemoteJoins(
        database, handshake, checks, RoomImport(database, heads, clock, frame.is_local),
        Completion(
            database, peers, checks, Filling(database, heads, clock, frame.is_local), departures, clock,
        ),
        departures, clock, reactor,
    )
    frame.at_start.append(joins.resume)
    frame.jobs.append(Job("going on with joins of rooms", _MINUTE, joins.resume))
    frame.jobs.append(Job("forgetting joins of rooms that are over", _DAY, lambda: drop_old(database, clock)))
    return RemoteRooms(
        RemoteJoining(database, joins, VouchedJoins(handshake, receiving.receiver), ours.server_name, limit),
        RemoteLeaving(
            database, leave, receiving.out_of_band, ours.server_name, ours.signing_key, clock, reactor,
            ours.new_event_id,
        ),
        RemoteKnocking(
            database, peers, templates, receiving.checks, receiving.out_of_band, ours.server_name, limit
        ),
        RemoteInviting(
            heads, lanes, peers, receiving.key_ring, receiving.receiver, ours.server_name, ours.signing_key, reactor
        ),
        joins,
    )
