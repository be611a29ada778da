"""Builds what older clients use in the place of `/sync`."""

from matrixd.http.client.event_polling import EventPolling
from matrixd.http.client.old_sync import OldSync
from matrixd.http.client.peeking_events import PeekingEvents
from matrixd.http.client.room_initial_sync import RoomInitialSync
from matrixd.http.client.room_reading import RoomReading
from matrixd.master.frame import Frame
from matrixd.master.syncing import Reads
from matrixd.queries.old_sync.own_rooms import OwnRooms
from matrixd.queries.old_sync.peeked_room import PeekedRoom
from matrixd.queries.old_sync.room_snapshot import RoomSnapshot
from matrixd.queries.old_sync.snapshot import Snapshot
from matrixd.queries.old_sync.stream import EventStream
from matrixd.queries.room_history import RoomHistory
from matrixd.queries.sync.left import LeftRooms
from matrixd.services.presence import Presence


def serve_old_sync(frame: Frame, reads: Reads, presence: Presence) -> None:
    """The endpoints."""
    database, feed, index, events = frame.database, frame.feed, frame.user_rooms, reads.client_events
    reading = RoomReading(feed, reads.ignored_users, reads.erased_users)
    polling = EventPolling(reading, feed, presence)
    stream = EventStream(database, events)
    peeked = PeekedRoom(
        database, reads.waiting, index, stream, reads.receipts, reads.typing, reads.account_data, reads.presence
    )
    old_sync = OldSync(
        reading,
        polling,
        OwnRooms(reads.waiting, index, stream, reads.news, reads.presence_news),
        PeekingEvents(polling, peeked),
        Snapshot(database, feed, index, events, reads.news, LeftRooms(database), reads.presence),
        RoomHistory(database, events, frame.clock),
        presence,
    )
    room = RoomInitialSync(reading, RoomSnapshot(database, feed, events, reads.receipts, reads.presence))
    frame.serve("client", old_sync.routes(), room.routes())
