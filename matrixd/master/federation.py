"""Builds what takes part in rooms with other servers: what asks them, what takes their events, what serves them."""

from dataclasses import dataclass

from matrixd.core.signing import SigningKey
from matrixd.http.federation.invites import Invites
from matrixd.http.federation.joins import Joins
from matrixd.http.federation.knocks import Knocks
from matrixd.http.federation.leaving import Leaving
from matrixd.http.federation.third_party_invite import ThirdPartyInvite
from matrixd.http.federation.transactions import Send
from matrixd.master.federation_client import build_federation_client
from matrixd.master.federation_edus import build_federation_edus
from matrixd.master.federation_keys import build_keys, request_signer, signing_keys
from matrixd.master.federation_reads import build_federation_reads
from matrixd.master.federation_sender import Sending, build_federation_sender, build_reachability
from matrixd.master.frame import Frame
from matrixd.master.user_data import UserData
from matrixd.net.federation_client import FederationClient
from matrixd.net.key_ring import KeyRing
from matrixd.net.remote_events import RemoteEvents
from matrixd.net.remote_third_party import RemoteThirdParty
from matrixd.net.remote_users import RemoteUsers
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.federation.join_answers import JoinAnswers
from matrixd.queries.room_servers import RoomServers
from matrixd.queries.server_acls import ServerAcls
from matrixd.services.event_effects import EventEffects
from matrixd.services.limits import Limit
from matrixd.services.out_of_band import OutOfBand
from matrixd.services.persister import Persister
from matrixd.services.policy_servers import PolicyServers
from matrixd.services.receiving.anchors import Anchors
from matrixd.services.receiving.auth_events import AuthEvents
from matrixd.services.receiving.outside_rooms import OutsideRooms
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.receiving.placing import Placing
from matrixd.services.receiving.receiver import Receiver
from matrixd.services.receiving.transactions import Transactions
from matrixd.services.remote_inviting import RemoteInviting
from matrixd.services.resident.invites import RemoteInvites
from matrixd.services.resident.membership_events import MembershipEvents
from matrixd.services.resident.rooms_of_others import RoomsOfOthers
from matrixd.services.resident.templates import MembershipTemplates
from matrixd.services.resident.third_party_invites import ThirdPartyInvites
from matrixd.services.restricted_joins import RestrictedJoins
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import RoomLanes
from matrixd.util.ratelimit import RateLimiter


@dataclass(frozen=True, slots=True)
class Federation:
    """What other parts need of it."""

    client: FederationClient
    keys: KeyRing
    room_servers: RoomServers
    sending: Sending
    acls: ServerAcls
    checks: PduChecks
    history: RemoteEvents
    auth_events: AuthEvents
    anchors: Anchors
    receiver: Receiver
    out_of_band: OutOfBand
    policies: PolicyServers
    signing_key: SigningKey


def build_federation(
    frame: Frame, heads: RoomHeads, persister: Persister, effects: EventEffects
) -> Federation:
    """What asks other servers and takes their events."""
    database, clock = frame.database, frame.clock
    reachability = build_reachability(frame)
    client = build_federation_client(frame, request_signer(frame.config), reachability)
    keys = build_keys(frame, client, reachability.contacted)
    room_servers = RoomServers(database, frame.feed, frame.budget)
    sending = build_federation_sender(frame, client, reachability, room_servers)
    acls = ServerAcls(database, frame.feed, frame.budget)
    checks = PduChecks(keys, frame.reactor)
    history = RemoteEvents(client)
    auth_events = AuthEvents(database, checks, history)
    anchors = Anchors(database, checks, auth_events, history, clock)
    out_of_band = OutOfBand(database, heads)
    policies = PolicyServers(frame.config.server.server_name, client)
    receiver = Receiver(
        database,
        heads,
        checks,
        auth_events,
        anchors,
        Placing(database, heads, persister, effects, policies, frame.budget),
        history,
        OutsideRooms(database, out_of_band, frame.is_local),
        clock,
    )
    return Federation(
        client, keys, room_servers, sending, acls, checks, history, auth_events, anchors, receiver, out_of_band,
        policies, signing_keys(frame.config)[0],
    )


def serve_federation(
    frame: Frame,
    federation: Federation,
    heads: RoomHeads,
    lanes: RoomLanes,
    user_data: UserData,
    erased_users: ErasedUsers,
    inviting: RemoteInviting,
) -> None:
    """What other servers may ask of us and send to us."""
    server_name, database, acls = frame.config.server.server_name, frame.database, federation.acls
    build_federation_reads(frame, erased_users, acls)
    edus = build_federation_edus(
        frame, user_data, federation.sending.outbox, federation.room_servers, acls, RemoteUsers(federation.client)
    )
    limits = frame.config.ratelimits
    rooms = RoomsOfOthers(heads, acls)
    restricted = RestrictedJoins(heads, frame.is_local)
    templates = MembershipTemplates(server_name, rooms, lanes, restricted)
    events = MembershipEvents(
        server_name, federation.signing_key, rooms, federation.checks, federation.receiver, restricted,
        Limit(RateLimiter(limits.joins_per_room), frame.clock, "Too many users join this room"),
    )
    invites = RemoteInvites(
        server_name, federation.signing_key, federation.checks, acls, federation.out_of_band, database,
        frame.is_local,
        Limit(RateLimiter(limits.invites_per_room), frame.clock, "This room invites too many users"),
        Limit(RateLimiter(limits.invites_per_user), frame.clock, "The user is invited too often"),
    )
    frame.serve(
        "federation",
        Send(Transactions(federation.receiver, edus, acls, frame.budget)).routes(),
        Joins(templates, events, JoinAnswers(server_name, database, erased_users)).routes(),
        Leaving(templates, events).routes(),
        Knocks(templates, events).routes(),
        Invites(invites).routes(),
        ThirdPartyInvite(
            ThirdPartyInvites(
                database, heads, lanes, rooms, inviting, RemoteThirdParty(federation.client), frame.is_local
            )
        ).routes(),
    )
