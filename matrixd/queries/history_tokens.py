"""Where pagination tokens point in a room's history.

A topological token that this server has made stands directly before or after an event of its room, which is how one of
another room is told.
"""

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.streams import MAX_POSITION, RoomToken
from matrixd.storage import events
from matrixd.storage.events import Place
from matrixd.storage.transaction import Transaction

#: Before everything that a room holds.
BEGINNING = RoomToken(0, 0)
_FIRST_PLACE = (0, -MAX_POSITION)


def before_event(event: Event, pos: int) -> RoomToken:
    """Directly before an event of the timeline: `prev_batch`, and where a page further back begins."""
    return RoomToken(event.depth, pos - 1)


def after_event(event: Event, pos: int) -> RoomToken:
    """Directly after an event of the timeline."""
    return RoomToken(event.depth, pos)


def parsed(text: str | None, name: str, newest: int) -> RoomToken | None:
    """The token in a query parameter; raises M_INVALID_PARAM for none of ours, or one after the position `newest`."""
    if text is None:
        return None
    token = RoomToken.parse(text, name)
    if token.position > newest:
        raise _invalid(name)
    return token


def place_of(tx: Transaction, room_nid: int, token: RoomToken, name: str, *, backwards: bool = False) -> Place:
    """The place in a room's history where a token points; raises M_INVALID_PARAM for one of another room.

    A position of the stream is a place only about. `backwards`: what comes before it must not be left out, though
    something that came after it may be among that; else what comes after it must not be left out.
    """
    if token.depth is None:
        before_break = events.place_before_break(tx, room_nid, token.position)
        if backwards:
            return before_break or events.deepest_place(tx, room_nid, token.position) or _FIRST_PLACE
        return events.last_place(tx, room_nid, token.position) or before_break or _FIRST_PLACE
    place = (token.depth, token.position)
    if token == BEGINNING:
        return _FIRST_PLACE
    if not events.is_beside_event(tx, room_nid, place):
        raise _invalid(name)
    return place


def _invalid(name: str) -> MatrixError:
    return MatrixError(400, "M_INVALID_PARAM", f"'{name}' is not a token that this server has given out for the room.")
