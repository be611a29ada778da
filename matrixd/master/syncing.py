"""Builds the read side of user data, and sync."""

from dataclasses import dataclass

from matrixd.http.client.sync import SyncEndpoint
from matrixd.master.frame import Frame
from matrixd.queries.account_data import AccountData
from matrixd.queries.client_events import ClientEvents
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.filters import StoredFilters
from matrixd.queries.ignored_users import IgnoredUsers
from matrixd.queries.presence import Presence
from matrixd.queries.push_rules import PushRules
from matrixd.queries.receipts import Receipts
from matrixd.queries.room_tails import RoomTails
from matrixd.queries.sync.first_syncs import FirstSyncs
from matrixd.queries.sync.invited import InvitedRooms
from matrixd.queries.sync.joined import JoinedRooms
from matrixd.queries.sync.lazy_members import LazyMembers
from matrixd.queries.sync.left import LeftRooms
from matrixd.queries.sync.news import News
from matrixd.queries.sync.presence_news import PresenceNews
from matrixd.queries.sync.sync import Sync
from matrixd.queries.sync.to_device import ToDeviceNews
from matrixd.queries.sync.waiting import Waiting
from matrixd.queries.sync.wake import Wake
from matrixd.queries.to_device import ToDeviceInbox
from matrixd.queries.typing import Typing
from matrixd.queries.unread import UnreadCounts
from matrixd.services.presence import Presence as PresenceService
from matrixd.services.to_device import DeliveredMessages


@dataclass(frozen=True, slots=True)
class Reads:
    """The queries that several parts share."""

    client_events: ClientEvents
    push_rules: PushRules
    filters: StoredFilters
    ignored_users: IgnoredUsers
    erased_users: ErasedUsers
    presence: Presence
    presence_news: PresenceNews
    receipts: Receipts
    typing: Typing
    account_data: AccountData
    news: News
    waiting: Waiting
    sync: Sync
    to_device: ToDeviceInbox


def build_reads(frame: Frame) -> Reads:
    """The queries; the order of subscriptions is that in which they hear of each row."""
    database, feed, budget = frame.database, frame.feed, frame.budget
    client_events = ClientEvents(database, feed, frame.clock, budget)
    push_rules = PushRules(database, feed, budget)
    presence = Presence(database, feed, frame.user_rooms, frame.clock)
    tails = RoomTails(feed, budget, lambda room_nid: frame.user_rooms.room(room_nid) is not None)
    presence_news = PresenceNews(database, presence, tails, frame.config.presence.mode != "off")
    waiting = Waiting(feed, frame.reactor.callLater)
    receipts, typing = Receipts(database, feed), Typing(feed)
    account_data = AccountData(database, feed, push_rules)
    news = News(database, receipts, typing, account_data)
    to_device = ToDeviceInbox(database, feed, budget)
    sync = Sync(
        waiting,
        frame.user_rooms,
        news,
        JoinedRooms(database, tails, client_events, UnreadCounts(database, feed, budget)),
        InvitedRooms(database),
        LeftRooms(database),
        presence_news,
        LazyMembers(budget),
        FirstSyncs(frame.clock, budget, frame.config.memory.sync_response_cache_ms),
        client_events,
        (ToDeviceNews(to_device),),
    )
    Wake(feed, frame.user_rooms)
    ignored_users = IgnoredUsers(database, feed, budget)
    erased_users = ErasedUsers(database, feed)
    frame.at_start.append(erased_users.load)
    return Reads(
        client_events=client_events,
        push_rules=push_rules,
        filters=StoredFilters(database, budget),
        ignored_users=ignored_users,
        erased_users=erased_users,
        presence=presence,
        presence_news=presence_news,
        receipts=receipts,
        typing=typing,
        account_data=account_data,
        news=news,
        waiting=waiting,
        sync=sync,
        to_device=to_device,
    )


def serve_sync(frame: Frame, reads: Reads, presence: PresenceService) -> None:
    """The endpoint."""
    endpoint = SyncEndpoint(
        reads.sync, frame.feed, reads.filters, reads.ignored_users, reads.erased_users, presence,
        DeliveredMessages(frame.database, reads.to_device).received,
    )  # fmt: skip
    frame.serve("client", endpoint.routes())
