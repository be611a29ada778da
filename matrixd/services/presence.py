"""Presence of local users, put together from what their devices do. Kept in memory; only what users chose is stored.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

import heapq
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from matrixd.core.errors import MatrixError
from matrixd.core.streams import Stream
from matrixd.queries.feed import Feed
from matrixd.queries.presence import presence_content
from matrixd.storage import presence, room_members, users
from matrixd.storage.database import Database
from matrixd.storage.presence import StoredPresence
from matrixd.storage.rows import EventRow, PresenceRow
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter
from matrixd.util.timer import Alarm, Timer

State = Literal["online", "unavailable", "offline"]
Mode = Literal["off", "local", "all"]

#: How long after a device's last sync it counts as gone, in milliseconds.
SYNC_TIMEOUT_MS = 30_000
#: How long after its last activity a device is idle: "a threshold value (e.g. 5 minutes)".
IDLE_MS = 300_000
#: How long after its last activity a device is "currently active".
ACTIVE_MS = 60_000
#: Changes are collected for so long before they are announced, in seconds.
COALESCE_S = 0.2
MAX_STATUS_LENGTH = 1024

_RANK = {"online": 2, "unavailable": 1, "offline": 0}


@dataclass(slots=True)
class _Device:
    state: State
    last_active_ms: int
    last_seen_ms: int
    #: Syncs that are waiting for news.
    syncs: int = 0

    def state_at(self, now_ms: int) -> State:
        if self.state == "online" and now_ms - self.last_active_ms >= IDLE_MS:
            return "unavailable"
        return self.state

    def is_gone(self, now_ms: int) -> bool:
        return self.syncs == 0 and now_ms - self.last_seen_ms >= SYNC_TIMEOUT_MS

    def next_change_ms(self, now_ms: int) -> int | None:
        times = [self.last_seen_ms + SYNC_TIMEOUT_MS] if self.syncs == 0 else []
        if self.state == "online":
            times += [self.last_active_ms + ACTIVE_MS, self.last_active_ms + IDLE_MS]
        return min((time for time in times if time > now_ms), default=None)


@dataclass(slots=True)
class _User:
    user_nid: int
    user_id: str
    devices: dict[int, _Device] = field(default_factory=dict)
    status_msg: str | None = None
    #: Whether `status_msg` is what the user chose; False until it was read from the database.
    knows_status: bool = False
    last_active_ms: int = 0
    #: What was announced last: state, status message, currently active.
    announced: tuple[str, str | None, bool] = ("offline", None, False)
    #: When the user is to be looked at again; None: not at all.
    due_ms: int | None = None

    def state(self, now_ms: int) -> State:
        states = (device.state_at(now_ms) for device in self.devices.values())
        return max(states, key=_RANK.__getitem__, default="offline")

    def is_active(self, now_ms: int) -> bool:
        return any(
            device.state == "online" and now_ms - device.last_active_ms < ACTIVE_MS
            for device in self.devices.values()
        )

    def row(self, pos: int, now_ms: int) -> PresenceRow:
        return PresenceRow(
            pos, self.user_id, self.user_nid, self.state(now_ms), self.status_msg, self.last_active_ms,
            self.is_active(now_ms),
        )  # fmt: skip


class Presence:
    """Follows what local users do, and announces how their presence changes.

    Syncs that would change a user's presence more often than `changes_by_sync` allows leave it as it was.

    As many users are in memory as have a device that synced in the last half minute. With `mode` "off" nothing is
    followed; "local" and "all" differ in what other servers are told, which is not this class's work. `find_remote`
    answers what is known of a user of another server, by the user's number.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        clock: Clock,
        timer: Timer,
        mode: Mode,
        changes_by_sync: RateLimiter,
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
        find_remote: Callable[[int], PresenceRow | None] = lambda user_nid: None,
    ) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._timer = timer
        self._changes_by_sync = changes_by_sync
        self._find_remote = find_remote
        self._background = background
        self.is_on = mode != "off"
        self._users: dict[int, _User] = {}
        self._due: list[tuple[int, int]] = []
        self._changed: set[int] = set()
        self._look = Alarm(timer, self._look_again)
        self._flush = Alarm(timer, self._announce)
        if self.is_on:
            feed.subscribe(EventRow, self._on_event)

    def sync_begins(self, user_nid: int, user_id: str, device_nid: int, state: State) -> None:
        """A device asks for news, with the `set_presence` of its request. Pair it with `sync_ends`.

        With "offline" the request is no sign of the user; what the device did before holds until it times out.
        """
        if not self.is_on or state == "offline":
            return
        device = self._device(user_nid, user_id, device_nid)
        device.syncs += 1
        may_change = device.state == state or self._changes_by_sync.wait(user_nid, self._clock.monotonic()) == 0
        self._set_state(device, state if may_change else device.state)
        self._look_at(self._users[user_nid])

    def sync_ends(self, user_nid: int, device_nid: int, state: State) -> None:
        """A sync that `sync_begins` told of was answered, or its client went away."""
        if state == "offline":
            return
        user = self._users.get(user_nid)
        device = None if user is None else user.devices.get(device_nid)
        if user is not None and device is not None:
            device.syncs = max(0, device.syncs - 1)
            device.last_seen_ms = self._clock.now_ms()
            self._look_at(user)

    def logged_out(self, user_nid: int, device_nid: int) -> None:
        """The device is no more."""
        user = self._users.get(user_nid)
        if user is not None and user.devices.pop(device_nid, None) is not None:
            self._look_at(user)

    async def put(self, user_nid: int, user_id: str, device_nid: int, state: State, status_msg: str | None) -> None:
        """Set the presence that a user chose on a device, and the user's status message. Raises M_INVALID_PARAM."""
        if status_msg is not None and len(status_msg) > MAX_STATUS_LENGTH:
            raise MatrixError(
                400, "M_INVALID_PARAM", f"'status_msg' must not be longer than {MAX_STATUS_LENGTH} characters."
            )
        if not self.is_on:
            return
        now_ms = self._clock.now_ms()
        await self._database.write(presence.put, StoredPresence(user_nid, state, status_msg, now_ms))
        device = self._device(user_nid, user_id, device_nid)
        user = self._users[user_nid]
        self._set_state(device, state)
        # "When setting the status, the activity time is updated to reflect that activity".
        device.last_active_ms = device.last_seen_ms = now_ms
        user.last_active_ms = now_ms
        user.status_msg = status_msg
        user.knows_status = True
        self._look_at(user)
        # What a user chose is told at once: the next sync of the same device may already choose something else.
        self._announce()

    async def get(self, asking_nid: int, user_id: str) -> dict[str, Any]:
        """The presence of a user as the API shows it. Raises M_FORBIDDEN where the two share no room."""
        found = await self._database.read(_read_shared, asking_nid, user_id)
        if found is None:
            raise MatrixError(403, "M_FORBIDDEN", "You are not allowed to see this user's presence.")
        user_nid, stored = found
        now_ms = self._clock.now_ms()
        user = self._users.get(user_nid)
        row = self._find_remote(user_nid) if user is None else user.row(0, now_ms)
        if row is not None:
            return presence_content(row, now_ms)
        if stored is None or not self.is_on:
            return {"presence": "offline"}
        row = PresenceRow(0, user_id, user_nid, "offline", stored.status_msg, stored.last_active_ts, False)
        return presence_content(row, now_ms)

    def _device(self, user_nid: int, user_id: str, device_nid: int) -> _Device:
        user = self._users.get(user_nid)
        is_new = user is None
        if user is None:
            user = self._users[user_nid] = _User(user_nid, user_id)
        device = user.devices.get(device_nid)
        if device is None:
            device = user.devices[device_nid] = _Device("offline", 0, self._clock.now_ms())
        if is_new:
            self._background(f"reading the status message of {user_id}", self._recall(user))
        return device

    async def _recall(self, user: _User) -> None:
        stored = await self._database.read(presence.get, user.user_nid)
        if stored is not None and not user.knows_status:
            user.status_msg = stored.status_msg
            if self._users.get(user.user_nid) is user:
                self._look_at(user)
        user.knows_status = True

    def _set_state(self, device: _Device, state: State) -> None:
        now_ms = self._clock.now_ms()
        device.last_seen_ms = now_ms
        if state == "online" and device.state != "online":
            # "A pro-active event may be sending a message to a room or changing presence state to online."
            device.last_active_ms = now_ms
        device.state = state

    def _on_event(self, row: EventRow) -> None:
        user = self._users.get(row.sender_nid)
        device = None if user is None or row.device_nid is None else user.devices.get(row.device_nid)
        if user is not None and device is not None and device.state != "offline":
            # "Any activity […] will cause the server to automatically set their presence to online."
            device.state = "online"
            device.last_active_ms = device.last_seen_ms = self._clock.now_ms()
            self._look_at(user)

    def _look_at(self, user: _User) -> None:
        """Find out whether there is something to announce, and when it will change by itself."""
        now_ms = self._clock.now_ms()
        for device_nid in [nid for nid, device in user.devices.items() if device.is_gone(now_ms)]:
            del user.devices[device_nid]
        user.last_active_ms = max(user.last_active_ms, *(d.last_active_ms for d in user.devices.values()), 0)
        if (user.state(now_ms), user.status_msg, user.is_active(now_ms)) != user.announced:
            self._changed.add(user.user_nid)
            self._flush.set(self._timer.seconds() + COALESCE_S)
        elif not user.devices:
            self._users.pop(user.user_nid, None)
        times = [device.next_change_ms(now_ms) for device in user.devices.values()]
        due_ms = min((time for time in times if time is not None), default=None)
        if due_ms is not None and (user.due_ms is None or due_ms < user.due_ms):
            user.due_ms = due_ms
            heapq.heappush(self._due, (due_ms, user.user_nid))
            self._look.set(self._timer.seconds() + (due_ms - now_ms) / 1000)

    def _look_again(self) -> None:
        now_ms = self._clock.now_ms()
        while self._due and self._due[0][0] <= now_ms:
            due_ms, user_nid = heapq.heappop(self._due)
            user = self._users.get(user_nid)
            # A user who was looked at for an earlier time has another entry.
            if user is not None and user.due_ms == due_ms:
                user.due_ms = None
                self._look_at(user)
        if self._due:
            self._look.set(self._timer.seconds() + (self._due[0][0] - now_ms) / 1000)

    def _announce(self) -> None:
        now_ms = self._clock.now_ms()
        changed, self._changed = self._changed, set()
        pos = self._feed.next_position(Stream.PRESENCE)
        rows: list[PresenceRow] = []
        for user_nid in changed:
            user = self._users.get(user_nid)
            if user is None:
                continue
            row = user.row(pos + len(rows), now_ms)
            now = (row.state, row.status_msg, row.currently_active)
            if now != user.announced:
                user.announced = now
                rows.append(row)
            if not user.devices:
                del self._users[user_nid]
                if user.knows_status:
                    self._background(f"storing when {user.user_id} was last active", self._store(user))
        if rows:
            self._feed.append(rows)

    async def _store(self, user: _User) -> None:
        await self._database.write(
            presence.put, StoredPresence(user.user_nid, "offline", user.status_msg, user.last_active_ms)
        )


def _read_shared(tx: Transaction, asking_nid: int, user_id: str) -> tuple[int, StoredPresence | None] | None:
    user_nid = users.find(tx, user_id)
    if user_nid is None or (user_nid != asking_nid and not room_members.share_a_room(tx, asking_nid, user_nid)):
        return None
    return user_nid, presence.get(tx, user_nid)
