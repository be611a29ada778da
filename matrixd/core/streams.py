"""Streams and the tokens that say how far along them a reader has come.

A stream is an ordered log of one kind of change. The single writer gives each row the stream's next position inside
its commit, so a reader that has seen position N has seen all rows up to N (no gaps, no reordering).

Tokens are opaque to clients (client-server API, "Syncing": `next_batch`; appendices, "Opaque Identifiers"), so their
text is ours. It is parsed strictly all the same: a token that we did not make gets an error and never a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from matrixd.core.errors import MatrixError

MAX_POSITION = 2**63 - 1
"""The largest position: what a signed 64-bit column of either engine can hold."""

MAX_TOKEN_LENGTH = 512
"""Longer texts are refused unread. Leaves room for 25 streams at their largest position."""

_POSITION = r"(?:0|[1-9][0-9]{0,18})"
_STREAM_TOKEN = re.compile(rf"s{_POSITION}(?:_{_POSITION})*")
_TOPOLOGICAL_TOKEN = re.compile(rf"t({_POSITION})-(-(?!0){_POSITION}|{_POSITION})")


class Stream(IntEnum):
    """The streams that a sync token holds a position of.

    The value is the stream's place in the token: add new members at the end, and never renumber or remove one. A token
    that was made before a stream existed reads as position 0 of it.
    """

    EVENTS = 0
    RECEIPTS = 1
    ACCOUNT_DATA = 2  # global and per room, tags included
    PRESENCE = 3
    TYPING = 4
    TO_DEVICE = 5
    DEVICE_LISTS = 6  # changes of devices, device keys and cross-signing keys; users who came into or left sight
    PUSH_RULES = 7

    @property
    def label(self) -> str:
        """The stream's name in tables, replication frames and metrics: `events`, `to_device`, …"""
        return self.name.lower()


_STREAM_COUNT = len(Stream)


@dataclass(frozen=True, slots=True)
class StreamToken:
    """A position in each stream: everything up to and including it has been seen.

    `positions` is indexed by `Stream`. Text form: `s{events}_{receipts}_{account_data}_…`, decimal, in the order of
    `Stream`'s values.
    """

    positions: tuple[int, ...]

    ZERO: ClassVar[StreamToken]

    def __post_init__(self) -> None:
        if len(self.positions) != _STREAM_COUNT:
            raise ValueError(f"a stream token holds {_STREAM_COUNT} positions, not {len(self.positions)}")
        if min(self.positions) < 0 or max(self.positions) > MAX_POSITION:
            raise ValueError("a stream position is between 0 and 2^63 - 1")

    @classmethod
    def of(cls, positions: dict[Stream, int]) -> StreamToken:
        """The token with these positions, and 0 in every stream that is not named."""
        return cls(tuple(positions.get(stream, 0) for stream in Stream))

    @classmethod
    def parse(cls, text: str, name: str = "since") -> StreamToken:
        """Read a token's text; `name` is the parameter that the error shall name.

        Fewer positions than we know streams: the token is from before the last streams were added, and the missing
        positions are 0. Raises MatrixError 400 M_INVALID_PARAM for anything else that `str()` of a token would not
        have made.
        """
        if len(text) > MAX_TOKEN_LENGTH or not _STREAM_TOKEN.fullmatch(text):
            raise _invalid(name)
        positions = tuple(map(int, text[1:].split("_")))
        if len(positions) > _STREAM_COUNT or max(positions) > MAX_POSITION:
            raise _invalid(name)
        return cls(positions + (0,) * (_STREAM_COUNT - len(positions)))

    def __str__(self) -> str:
        return "s" + "_".join(map(str, self.positions))

    def __getitem__(self, stream: Stream) -> int:
        return self.positions[stream]

    def replace(self, stream: Stream, position: int) -> StreamToken:
        """This token with another position in one stream, even an earlier one."""
        positions = self.positions
        return StreamToken((*positions[:stream], position, *positions[stream + 1 :]))

    def advance(self, stream: Stream, position: int) -> StreamToken:
        """This token moved on to `position` in one stream; itself if it is there or further already."""
        return self if position <= self.positions[stream] else self.replace(stream, position)

    def is_after_or_equal(self, other: StreamToken) -> bool:
        """Whether this token has seen everything, in every stream, that `other` has seen.

        Two tokens can each be ahead of the other in some stream; then it is false both ways.
        """
        return all(mine >= theirs for mine, theirs in zip(self.positions, other.positions, strict=True))

    def latest(self, other: StreamToken) -> StreamToken:
        """The smallest token that is after or equal to both."""
        return StreamToken(tuple(map(max, self.positions, other.positions)))

    def earliest(self, other: StreamToken) -> StreamToken:
        """The largest token that both are after or equal to."""
        return StreamToken(tuple(map(min, self.positions, other.positions)))


StreamToken.ZERO = StreamToken((0,) * _STREAM_COUNT)


@dataclass(frozen=True, slots=True)
class RoomToken:
    """A place between two events of one room's history, for `/messages`, `/context`, `/relations` and `prev_batch`.

    Two forms. Topological, `t{depth}-{position}`: just after the event with that depth and event-stream position in
    the order (depth, position), which is how history is paged; what was fetched later than its room's first event
    has a negative position (`t7--3`). Stream (`depth` is None), `s{position}`: just after the
    event with that position in the order of arrival, which is where a sync token points; its text is a sync token of
    the event stream alone.

    Source: client-server API, `GET /rooms/{roomId}/messages`: `from` may be a token of `/sync` or of `/messages`.
    """

    depth: int | None
    position: int

    def __post_init__(self) -> None:
        first = 0 if self.depth is None else -MAX_POSITION
        if not (0 <= (self.depth or 0) <= MAX_POSITION and first <= self.position <= MAX_POSITION):
            raise ValueError("depth and position are between 0 and 2^63 - 1, but for the positions of history")

    @property
    def is_topological(self) -> bool:
        return self.depth is not None

    @classmethod
    def from_stream_token(cls, token: StreamToken) -> RoomToken:
        """Where a sync token points in a room: its position in the event stream."""
        return cls(None, token[Stream.EVENTS])

    @classmethod
    def parse(cls, text: str, name: str = "from") -> RoomToken:
        """Read either form, or a whole sync token; `name` is the parameter that the error shall name.

        Raises MatrixError 400 M_INVALID_PARAM.
        """
        if not text.startswith("t"):
            return cls.from_stream_token(StreamToken.parse(text, name))
        match = _TOPOLOGICAL_TOKEN.fullmatch(text)
        if match is None:
            raise _invalid(name)
        depth, position = int(match[1]), int(match[2])
        if max(depth, abs(position)) > MAX_POSITION:
            raise _invalid(name)
        return cls(depth, position)

    def __str__(self) -> str:
        return f"s{self.position}" if self.depth is None else f"t{self.depth}-{self.position}"


def _invalid(name: str) -> MatrixError:
    return MatrixError(400, "M_INVALID_PARAM", f"'{name}' is not a token that this server has given out")
