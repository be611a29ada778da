"""Builds what users keep: profile, account data, tags, filters, receipts, typing, presence, push rules; and TURN."""

from dataclasses import dataclass

from matrixd.http.client.account_data import AccountData as AccountDataEndpoints
from matrixd.http.client.filter import Filter as FilterEndpoints
from matrixd.http.client.presence import Presence as PresenceEndpoints
from matrixd.http.client.profile import Profile as ProfileEndpoints
from matrixd.http.client.pushrule_paths import PushRulePaths
from matrixd.http.client.pushrules import PushRules as PushRulesEndpoints
from matrixd.http.client.read_markers import ReadMarkers as ReadMarkersEndpoints
from matrixd.http.client.receipts import Receipts as ReceiptsEndpoints
from matrixd.http.client.tags import Tags as TagsEndpoints
from matrixd.http.client.typing import Typing as TypingEndpoints
from matrixd.http.client.voip import Voip
from matrixd.master.frame import Frame
from matrixd.master.syncing import Reads
from matrixd.services.account_data import AccountData
from matrixd.services.filters import Filters
from matrixd.services.presence import Presence
from matrixd.services.profiles import OtherProfiles, Profiles, UpdateMemberEvents
from matrixd.services.push_rules import PushRules
from matrixd.services.read_markers import ReadMarkers
from matrixd.services.receipts import Receipts
from matrixd.services.remote_presence import RemotePresence
from matrixd.services.tags import Tags
from matrixd.services.turn import Turn
from matrixd.services.typing import Typing
from matrixd.util.ratelimit import RateLimiter


@dataclass(frozen=True, slots=True)
class UserData:
    """What other parts need of it."""

    presence: Presence
    remote_presence: RemotePresence
    profiles: Profiles
    typing: Typing
    receipts: Receipts


def build_user_data(
    frame: Frame, reads: Reads, update_member_events: UpdateMemberEvents, other_profiles: OtherProfiles
) -> UserData:
    """Build it and serve it. `update_member_events(user_nid, user_id)`: see `Profiles`."""
    config, database, clock = frame.config, frame.database, frame.clock
    turn = config.turn
    profiles = Profiles(
        database,
        update_member_events,
        {"displayname": config.profiles.enable_set_displayname, "avatar_url": config.profiles.enable_set_avatar_url},
        config.profiles.limit_profile_requests_to_users_who_share_rooms,
        others=other_profiles,
    )
    presence_rate = config.ratelimits.presence_per_user
    frame.limiters["presence"] = RateLimiter(presence_rate)
    remote_presence = RemotePresence(database, frame.feed, clock, frame.reactor)
    presence = Presence(
        database, frame.feed, clock, frame.reactor, config.presence.mode, RateLimiter(presence_rate),
        find_remote=remote_presence.find,
    )  # fmt: skip
    typing = Typing(database, frame.feed, frame.reactor)
    receipts = Receipts(database, clock)
    read_markers = ReadMarkers(database, clock)
    push_rules = PushRules(database)
    frame.capabilities.update(profiles.capabilities())
    frame.serve(
        "client",
        ProfileEndpoints(profiles, config.profiles.require_auth_for_profile_requests).routes(),
        AccountDataEndpoints(AccountData(database), reads.push_rules).routes(),
        TagsEndpoints(Tags(database)).routes(),
        FilterEndpoints(Filters(database)).routes(),
        ReceiptsEndpoints(receipts, read_markers).routes(),
        ReadMarkersEndpoints(read_markers).routes(),
        TypingEndpoints(typing).routes(),
        PresenceEndpoints(presence).routes(),
        PushRulesEndpoints(reads.push_rules, push_rules).routes(),
        PushRulePaths().routes(),
        Voip(
            Turn(
                clock, turn.uris, turn.shared_secret, turn.username, turn.password, turn.user_lifetime_ms,
                turn.allow_guests,
            )
        ).routes(),
    )
    return UserData(presence, remote_presence, profiles, typing, receipts)
