"""The rows of the streams: what a commit announces to the feed of each process.

Each row has `pos`, its position in its stream. Rows are announced in the order of their positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core.event import Event


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """What an m.room.member event did to the membership of its state key."""

    user_id: str
    user_nid: int
    membership: str
    #: The membership before; 'leave' if there was none.
    before: str
    is_local: bool


@dataclass(frozen=True, slots=True)
class StateMove:
    """A place in a room's current state that changed other than by an event of that place: by state resolution."""

    key: tuple[str, str]
    #: None: nothing holds the place any more.
    event: Event | None
    event_nid: int | None
    sender_nid: int | None
    member: MembershipChange | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event that joined a room's timeline. Stream: events."""

    pos: int
    event_nid: int
    room_nid: int
    event: Event
    sender_nid: int
    #: `rooms.unread` up to and with this event: events in threads are not in it.
    unread: int
    #: Whether it notifies a member who has the default push rules.
    notifies: bool
    #: The state event that it replaced, if any.
    replaces: Event | None
    member: MembershipChange | None
    #: The device and the transaction ID that made it here, so that its own echo carries the ID.
    device_nid: int | None
    txn_id: str | None
    #: Thread root of an event in a thread.
    thread_id: str | None
    #: What differs from the default outcome of the push rules: (user_nid, notify delta, highlight).
    push_deltas: tuple[tuple[int, int, int], ...]
    #: The event that this one redacted, already pruned, if it was there.
    redacted: Event | None
    #: Members of the room after this event.
    joined_count: int
    invited_count: int
    #: What else changed of the current state.
    moves: tuple[StateMove, ...] = ()
    #: False: a state event that did not become the current state: another one won.
    is_current: bool = True
    #: The event is of another server and was accepted here: we give it to the room's other servers.
    sends_on: bool = False
    #: What comes before it was not here when it came: a timeline must not go on from older events to it.
    follows_break: bool = False
    #: 'out_of_band' for a membership in a room that this server takes no part in: it is in no timeline.
    verdict: str | None = None
    #: Another server has taken this event of ours, and gives it to the rest of the room: the join that let us in.
    is_given_on: bool = False

    @property
    def members(self) -> list[MembershipChange]:
        """All memberships that changed, by the event or by what else it changed of the state."""
        moved = [move.member for move in self.moves if move.member is not None]
        return moved if self.member is None else [self.member, *moved]

    @property
    def local_members(self) -> list[MembershipChange]:
        """Those of this server's users."""
        return [member for member in self.members if member.is_local]


@dataclass(frozen=True, slots=True)
class RoomFilled:
    """Of a room that was joined through another server all members are known now. Stream: events."""

    pos: int
    room_nid: int
    room_id: str
    joined_count: int
    invited_count: int


@dataclass(frozen=True, slots=True)
class RoomForgotten:
    """A local user forgot a room. Without a stream of its own."""

    user_nid: int
    room_nid: int


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A receipt that moved. Stream: receipts."""

    pos: int
    room_nid: int
    user_nid: int
    user_id: str
    #: 'm.read' or 'm.read.private'
    type: str
    #: '' for an unthreaded receipt
    thread_id: str
    event_id: str
    event_pos: int
    #: Milliseconds since the epoch.
    ts: int


@dataclass(frozen=True, slots=True)
class AccountDataRow:
    """Account data of a user that changed; `room_nid` is 0 for global data. Stream: account_data."""

    pos: int
    user_nid: int
    room_nid: int
    type: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PushRulesRow:
    """A user's push rules changed. Stream: push_rules."""

    pos: int
    user_nid: int


@dataclass(frozen=True, slots=True)
class TypingRow:
    """Who types in a room now. Stream: typing; not stored."""

    pos: int
    room_nid: int
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PresenceRow:
    """A user's presence changed. Stream: presence; not stored."""

    pos: int
    user_id: str
    user_nid: int
    #: 'online', 'offline' or 'unavailable'
    state: str
    status_msg: str | None
    #: Milliseconds since the epoch.
    last_active_ts: int
    currently_active: bool
    #: Of a user of another server: the rooms with local users that the user was in at that time.
    room_nids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ToDeviceRow:
    """A message waits for a device of a local user. Stream: to_device."""

    pos: int
    user_nid: int
    device_nid: int


@dataclass(frozen=True, slots=True)
class ToDeviceDeleted:
    """A device has got its messages up to a position. Without a stream."""

    device_nid: int
    up_to: int


@dataclass(frozen=True, slots=True)
class DeviceListRow:
    """The devices or the keys of a user, local or not, have changed. Stream: device_lists."""

    pos: int
    user_nid: int
    user_id: str


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """A device of a local user was made, renamed or deleted, and waits to be told of. Without a stream."""

    user_nid: int


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A local user's profile changed; without a stream of its own (room member events carry it)."""

    pos: int
    user_nid: int
    user_id: str


@dataclass(frozen=True, slots=True)
class DeviceDeleted:
    """A device was logged out: its syncs end. Without a stream and a position."""

    user_nid: int
    user_id: str
    device_nid: int
    device_id: str


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """What is remembered of a user's tokens no longer holds: one was revoked, or the account was locked, suspended,
    deactivated, upgraded or made an administrator. Without a stream and a position.
    """

    user_nid: int
    user_id: str


@dataclass(frozen=True, slots=True)
class UserErased:
    """A user wanted to be erased when `erased_pos` was the newest position of the events stream. Without a stream."""

    user_id: str
    erased_pos: int


@dataclass(frozen=True, slots=True)
class EdusStored:
    """EDUs for these servers were stored. Without a stream and a position."""

    destinations: tuple[str, ...]
