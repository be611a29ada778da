"""Builds what changes rooms: making them, membership, sending, aliases, the published directory, upgrades."""

import secrets
from dataclasses import dataclass

from matrixd.config.ratelimits import RateLimit
from matrixd.http.client.banning import Banning
from matrixd.http.client.create_room import CreateRoom
from matrixd.http.client.directory import Directory
from matrixd.http.client.inviting import InvitingEndpoints
from matrixd.http.client.joining import JoiningEndpoints
from matrixd.http.client.kicking import Kicking
from matrixd.http.client.knocking import KnockingEndpoints
from matrixd.http.client.leaving import CAPABILITIES, LeavingEndpoints
from matrixd.http.client.list_joined_rooms import ListJoinedRooms
from matrixd.http.client.list_public_rooms import ListPublicRooms
from matrixd.http.client.redaction import Redaction
from matrixd.http.client.room_send import RoomSend
from matrixd.http.client.room_state_change import RoomStateChange
from matrixd.http.client.room_upgrades import RoomUpgradeEndpoints
from matrixd.http.kit.route import Route
from matrixd.master.frame import Frame, Job
from matrixd.master.remote_rooms import RemoteRooms
from matrixd.queries.public_rooms import PublicRooms
from matrixd.services.aliases import Aliases
from matrixd.services.canonical_aliases import CanonicalAliases
from matrixd.services.create_room import RoomCreation
from matrixd.services.guest_access import GuestAccess
from matrixd.services.inviting import InviteLimits, InviteRules, Inviting
from matrixd.services.joining import Joining, Moved
from matrixd.services.knocking import Knocking
from matrixd.services.leaving import Leaving
from matrixd.services.limits import Limit
from matrixd.services.member_profiles import MemberProfiles
from matrixd.services.membership import MembershipChanges
from matrixd.services.moved_settings import MovedSettings
from matrixd.services.publishing import Publishing
from matrixd.services.redaction_limits import RedactionLimits
from matrixd.services.remote_directories import RemoteDirectories
from matrixd.services.removing import Removing
from matrixd.services.restricted_joins import RestrictedJoins
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import RoomLanes
from matrixd.services.room_rules import RoomRules
from matrixd.services.room_upgrade import RoomUpgrades
from matrixd.services.sending import Sending
from matrixd.services.sent_transactions import SentTransactions
from matrixd.services.shown_profiles import ShownProfiles
from matrixd.services.state_changes import StateChanges
from matrixd.util.ratelimit import RateLimiter

_HOUR = 60 * 60.0


@dataclass(frozen=True, slots=True)
class Rooms:
    """What other parts need of it."""

    #: `leave_all_rooms` is for accounts that end.
    leaving: Leaving
    #: `update_member_events` is for profiles that change.
    shown_profiles: ShownProfiles
    profiles: MemberProfiles
    inviting: Inviting
    joining: Joining
    sending: Sending
    creation: RoomCreation
    aliases: Aliases


@dataclass(frozen=True, slots=True)
class _Membership:
    """Who may change who is in a room."""

    joining: Joining
    inviting: Inviting
    leaving: Leaving
    removing: Removing
    knocking: Knocking


def build_rooms(
    frame: Frame, heads: RoomHeads, lanes: RoomLanes, remote: RemoteRooms, directories: RemoteDirectories
) -> Rooms:
    """Build it and serve it."""
    config, database = frame.config, frame.database
    frame.limiters["message"] = RateLimiter(config.ratelimits.message)
    server_name = config.server.server_name
    profiles = MemberProfiles(database, frame.feed, frame.budget)
    moved = MovedSettings(database).copy
    members = _membership(frame, heads, lanes, profiles, moved, remote)
    aliases = Aliases(
        database, frame.clock, server_name, heads, lanes, RoomRules(config.rooms.alias_creation_rules),
        config.rooms.require_membership_for_aliases, directories,
    )
    publishing = Publishing(database, heads, RoomRules(config.rooms.room_list_publication_rules))
    sending = Sending(database, lanes, SentTransactions(database, frame.budget), frame.budget)
    making = _limit(frame, config.ratelimits.room_creation, "You make rooms too often")
    creation = RoomCreation(
        server_name, config.rooms, lanes, profiles, members.inviting, aliases, publishing, making,
        lambda: _new_room_id(server_name),
    )
    upgrades = RoomUpgrades(
        database, heads, lanes, profiles, making, lambda: _new_room_id(server_name), moved
    )
    guests = GuestAccess(database, frame.feed, lanes)
    frame.at_start.append(guests.resume)
    frame.jobs.append(Job("taking guests out of closed rooms", _HOUR, guests.close_rooms))
    changes = StateChanges(
        server_name, heads, lanes,
        MembershipChanges(
            members.joining, members.inviting, members.leaving, members.removing, members.knocking
        ),
        CanonicalAliases(database, server_name, directories.locate),
    )
    frame.capabilities.update(CAPABILITIES)
    frame.serve(
        "client",
        CreateRoom(creation).routes(),
        *_membership_routes(members, aliases),
        ListJoinedRooms(database).routes(),
        RoomSend(sending).routes(),
        Redaction(sending, _redaction_limits(frame, heads)).routes(),
        RoomStateChange(changes).routes(),
        RoomUpgradeEndpoints(upgrades).routes(),
        Directory(aliases).routes(),
        ListPublicRooms(
            PublicRooms(database, config.rooms.enable_room_list_search), publishing, directories, server_name,
            not config.rooms.allow_public_rooms_without_auth,
        ).routes(),
    )
    return Rooms(
        members.leaving, ShownProfiles(database, lanes, profiles), profiles, members.inviting, members.joining,
        sending, creation, aliases,
    )


def _membership(
    frame: Frame, heads: RoomHeads, lanes: RoomLanes, profiles: MemberProfiles, moved: Moved, remote: RemoteRooms
) -> _Membership:
    config, limits = frame.config, frame.config.ratelimits
    per_user = _limit(frame, limits.joins_local, "You join rooms too often")
    return _Membership(
        Joining(
            heads, lanes, profiles, RestrictedJoins(heads, frame.is_local), remote.joining,
            config.rooms.allow_per_room_profiles, per_user,
            _limit(frame, limits.joins_per_room, "Too many users join this room"), moved,
        ),
        Inviting(
            frame.database, heads, lanes, remote.inviting, frame.is_local,
            InviteLimits(
                _limit(frame, limits.invites_per_room, "This room invites too many users"),
                _limit(frame, limits.invites_per_user, "The user is invited too often"),
                _limit(frame, limits.invites_per_issuer, "You invite too many users"),
            ),
            InviteRules(config.rooms.block_non_admin_invites, config.profiles.include_profile_data_on_invite),
        ),
        Leaving(frame.database, heads, lanes, remote.leaving),
        Removing(lanes),
        Knocking(heads, lanes, profiles, remote.knocking, per_user),
    )


def _redaction_limits(frame: Frame, heads: RoomHeads) -> RedactionLimits:
    what = "You redact too often"
    return RedactionLimits(
        heads,
        Limit(frame.limiters["message"], frame.clock, what),
        _limit(frame, frame.config.ratelimits.admin_redaction, what),
    )


def _membership_routes(members: _Membership, aliases: Aliases) -> list[list[Route]]:
    return [
        JoiningEndpoints(members.joining, aliases).routes(),
        InvitingEndpoints(members.inviting).routes(),
        LeavingEndpoints(members.leaving).routes(),
        Kicking(members.removing).routes(),
        Banning(members.removing).routes(),
        KnockingEndpoints(members.knocking, aliases).routes(),
    ]


def _limit(frame: Frame, rate: RateLimit, what: str) -> Limit:
    return Limit(RateLimiter(rate), frame.clock, what)


def _new_room_id(server_name: str) -> str:
    """https://spec.matrix.org/v1.19/appendices/#room-ids"""
    return f"!{secrets.token_urlsafe(18)}:{server_name}"
