"""Which events go to which servers.

Events of local users go to every other server in the room, and so do those of other servers that were accepted here as
the resident server of a join, leave or knock (https://spec.matrix.org/v1.19/server-server-api/#joining-rooms). Who is
removed, or whose invite or knock is, is told by the event itself, although their server may be in the room no more.
"""

from collections import deque
from collections.abc import Callable, Collection, Container
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.core.streams import Stream
from matrixd.queries.feed import Feed
from matrixd.queries.room_servers import RoomServers
from matrixd.services.sending_out.outgoing_event import HeldBytes, OutgoingEvent
from matrixd.storage import outgoing_events
from matrixd.storage.database import Database
from matrixd.storage.rows import EventRow, MembershipChange

#: Rows of the feed that wait to be handed out; beyond it they are read from the database again.
_MAX_WAITING = 5_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    pos: int
    room_nid: int
    event: Event
    #: The server of the user whom the event removes, whether or not it is still in the room.
    removes_from: str | None


#: Takes an event for servers; the flag: these are in the room no more.
Offer = Callable[[OutgoingEvent, Collection[str], bool], None]


class Dispatch:
    """Hands the outgoing events of the feed, in its order, to `offer`."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        feed: Feed,
        room_servers: RoomServers,
        offer: Offer,
        held: HeldBytes,
        partners: Container[str] | None,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._room_servers = room_servers
        self._offer = offer
        self._held = held
        self._partners = partners
        self._waiting: deque[_Waiting] = deque()
        #: Every event up to here was handed out.
        self.position = feed.token[Stream.EVENTS]
        #: Every event up to here has come from the feed, or waits in the database.
        self._seen = self.position
        #: Events up to here are to be read from the database, since they did not come from the feed or were too many.
        self._read_up_to = self.position
        self._is_running = False
        feed.subscribe(EventRow, self._on_event)

    def begin_at(self, position: int) -> None:
        """Events after `position` that are older than the feed are handed out too; to be called before `run`."""
        self.position = min(position, self.position)

    def is_local(self, user_id: str) -> bool:
        """Whether a user is of this server."""
        return user_id.partition(":")[2] == self._server_name

    def _on_event(self, row: EventRow) -> None:
        self._seen = row.pos
        is_ours = self.is_local(row.event.sender) and not row.is_given_on
        goes_out = row.verdict is None and (row.sends_on or is_ours)
        if goes_out and len(self._waiting) >= _MAX_WAITING:
            self._waiting.clear()
            self._read_up_to = row.pos
        elif goes_out:
            self._waiting.append(_Waiting(row.pos, row.room_nid, row.event, _removed_from(row.member)))
        elif not self._waiting and self.position >= self._read_up_to and not self._is_running:
            self.position = row.pos

    @property
    def is_behind(self) -> bool:
        """Whether `run` has something to do."""
        return not self._is_running and (bool(self._waiting) or self.position < self._read_up_to)

    async def run(self) -> None:
        """Hand out what waits. Raises Unavailable; then it is to be called again. Does nothing while it runs."""
        if self._is_running:
            return
        self._is_running = True
        try:
            while True:
                if self.position < self._read_up_to:
                    await self._read()
                elif self._waiting:
                    await self._hand_out(self._waiting[0])
                    self._drop_handed_out()
                else:
                    self.position = self._seen
                    return
        finally:
            self._is_running = False

    def _drop_handed_out(self) -> None:
        while self._waiting and self._waiting[0].pos <= self.position:
            self._waiting.popleft()

    async def _read(self) -> None:
        found, end = await self._database.read(
            outgoing_events.between, self.is_local, self.position, self._read_up_to
        )
        for outgoing in found:
            removed_from = self._may_be_removed_from(outgoing.event)
            await self._hand_out(_Waiting(outgoing.pos, outgoing.room_nid, outgoing.event, removed_from))
        self.position = end
        self._drop_handed_out()

    async def _hand_out(self, waiting: _Waiting) -> None:
        servers = self._room_servers.known(waiting.room_nid)
        if servers is None:
            servers = await self._room_servers.of(waiting.room_nid)
        event = waiting.event
        origin = event.sender_domain
        present = {server for server in servers if server != origin and self._may_talk_to(server)}
        removed = waiting.removes_from
        is_told = removed is not None and removed != origin and removed not in present and self._may_talk_to(removed)
        left = [removed] if removed is not None and is_told else []
        if present or left:
            outgoing = OutgoingEvent(waiting.pos, waiting.room_nid, event, self._held)
            self._offer(outgoing, present, False)
            self._offer(outgoing, left, True)
        self.position = waiting.pos

    def _may_talk_to(self, server: str) -> bool:
        return self._partners is None or server in self._partners

    def _may_be_removed_from(self, event: Event) -> str | None:
        """For an event of which it is no longer known what it replaced: better one too many is told."""
        if event.membership not in ("leave", "ban") or event.state_key is None or self.is_local(event.state_key):
            return None
        return event.state_key.partition(":")[2]


def _removed_from(member: MembershipChange | None) -> str | None:
    if member is None or member.is_local or member.membership not in ("leave", "ban"):
        return None
    return member.user_id.partition(":")[2] if member.before in ("join", "invite", "knock") else None
