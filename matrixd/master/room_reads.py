"""Builds what reads rooms: events, history, state, members, relations."""

from matrixd.http.client.event_context import EventContext
from matrixd.http.client.message_pagination import MessagePagination
from matrixd.http.client.relations import Relations
from matrixd.http.client.room_event_by_timestamp import RoomEventByTimestamp
from matrixd.http.client.room_reading import RoomReading
from matrixd.http.client.rooms import Rooms
from matrixd.http.client.threads_list import ThreadsList
from matrixd.master.frame import Frame
from matrixd.master.syncing import Reads
from matrixd.queries.members import Members
from matrixd.queries.room_history import RoomHistory
from matrixd.queries.room_state_reads import RoomStateReads
from matrixd.services.backfill import Backfill
from matrixd.services.jump_to_date import JumpToDate


def serve_room_reads(frame: Frame, reads: Reads, jumps: JumpToDate, backfill: Backfill) -> None:
    """The endpoints."""
    database, clock = frame.database, frame.clock
    reading = RoomReading(frame.feed, reads.ignored_users, reads.erased_users)
    history = RoomHistory(database, reads.client_events, clock, backfill.for_page)
    state = RoomStateReads(database, reads.client_events, clock)
    frame.serve(
        "client",
        Rooms(reading, history, state, Members(database, clock)).routes(),
        MessagePagination(reading, history).routes(),
        EventContext(reading, history).routes(),
        RoomEventByTimestamp(reading, jumps).routes(),
        Relations(reading, history).routes(),
        ThreadsList(reading, history).routes(),
    )
