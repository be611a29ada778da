"""core/streams: tokens read back as what they were written from, and nothing else is read at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.errors import MatrixError
from matrixd.core.streams import MAX_POSITION, MAX_TOKEN_LENGTH, RoomToken, Stream, StreamToken

positions = st.integers(0, MAX_POSITION)
stream_tokens = st.tuples(*(positions for _ in Stream)).map(StreamToken)
room_tokens = st.builds(RoomToken, st.none() | positions, positions) | st.builds(
    RoomToken, positions, positions.map(lambda position: -position)
)

GARBAGE = [
    "",
    "s",
    "t",
    "s_",
    "s1_",
    "s_1",
    "s-1",
    "s+1",
    "s 1",
    "s1 ",
    "s1\n",
    "s01",
    "s1__2",
    "s1.5",
    "s1e3",
    "s\u0661",  # an Arabic digit, which int() would take
    "s²",
    "x1",
    "S1",
    "1",
    "s1_2_3_4_5_6_7_8_9",  # a stream that we do not know
    f"s{MAX_POSITION + 1}",
    f"s1_{2**63}",
    "s" + "9" * 30,
    "s" + "0_" * 300 + "0",
    "null",
    "s1\x00",
]


class TestStream:
    def test_values_are_fixed(self) -> None:
        """They are written into tokens that clients keep for years."""
        assert [(s.label, int(s)) for s in Stream] == [
            ("events", 0),
            ("receipts", 1),
            ("account_data", 2),
            ("presence", 3),
            ("typing", 4),
            ("to_device", 5),
            ("device_lists", 6),
            ("push_rules", 7),
        ]


class TestStreamToken:
    def test_text(self) -> None:
        token = StreamToken.of({Stream.EVENTS: 12, Stream.RECEIPTS: 3, Stream.PUSH_RULES: 7})
        assert str(token) == "s12_3_0_0_0_0_0_7"
        assert token[Stream.RECEIPTS] == 3
        assert str(StreamToken.ZERO) == "s0_0_0_0_0_0_0_0"

    @settings(max_examples=100)
    @given(stream_tokens)
    def test_round_trip(self, token: StreamToken) -> None:
        assert len(str(token)) <= MAX_TOKEN_LENGTH
        assert StreamToken.parse(str(token)) == token

    @pytest.mark.parametrize("text", GARBAGE)
    def test_garbage(self, text: str) -> None:
        with pytest.raises(MatrixError) as caught:
            StreamToken.parse(text, "since")
        assert (caught.value.status, caught.value.errcode) == (400, "M_INVALID_PARAM")
        assert "'since'" in caught.value.error

    @settings(max_examples=200)
    @given(st.text(alphabet="st0123456789_-", max_size=40))
    def test_only_canonical_texts_are_read(self, text: str) -> None:
        try:
            token = StreamToken.parse(text)
        except MatrixError:
            return
        assert str(token).startswith(text)

    def test_token_from_before_a_stream_existed(self) -> None:
        assert StreamToken.parse("s12_3_4") == StreamToken((12, 3, 4, 0, 0, 0, 0, 0))

    @pytest.mark.parametrize("bad", [(1,), (0,) * 9, (-1, *(0,) * 7), (*(0,) * 7, 2**63)])
    def test_impossible_positions(self, bad: tuple[int, ...]) -> None:
        with pytest.raises(ValueError):
            StreamToken(bad)

    def test_advance_never_goes_back(self) -> None:
        token = StreamToken.of({Stream.TYPING: 5})
        assert token.advance(Stream.TYPING, 5) is token
        assert token.advance(Stream.TYPING, 4) is token
        assert token.advance(Stream.TYPING, 6)[Stream.TYPING] == 6
        assert token.replace(Stream.TYPING, 4)[Stream.TYPING] == 4

    @settings(max_examples=100)
    @given(stream_tokens, stream_tokens)
    def test_order(self, a: StreamToken, b: StreamToken) -> None:
        high, low = a.latest(b), a.earliest(b)
        for token in (a, b):
            assert high.is_after_or_equal(token)
            assert token.is_after_or_equal(low)
        assert (a.is_after_or_equal(b) and b.is_after_or_equal(a)) == (a == b)
        assert {high[Stream.EVENTS], low[Stream.EVENTS]} == {a[Stream.EVENTS], b[Stream.EVENTS]}


class TestRoomToken:
    def test_text(self) -> None:
        assert str(RoomToken(7, 12)) == "t7-12"
        assert str(RoomToken(7, -3)) == "t7--3"
        assert str(RoomToken(None, 12)) == "s12"
        assert RoomToken(0, 12).is_topological
        assert not RoomToken(None, 12).is_topological

    @settings(max_examples=100)
    @given(room_tokens)
    def test_round_trip(self, token: RoomToken) -> None:
        assert RoomToken.parse(str(token)) == token

    @settings(max_examples=50)
    @given(stream_tokens)
    def test_reads_sync_tokens(self, token: StreamToken) -> None:
        assert RoomToken.parse(str(token)) == RoomToken(None, token[Stream.EVENTS])

    @pytest.mark.parametrize(
        "text",
        [*GARBAGE, "t1", "t-1", "t1-", "t1_2", "t1--02", "t1---2", "t1--0", "t01-2", f"t{2**63}-1", f"t1-{2**63}",
         f"t1--{2**63}", "t1-2 ", "t1-2-3"],
    )
    def test_garbage(self, text: str) -> None:
        with pytest.raises(MatrixError) as caught:
            RoomToken.parse(text, "to")
        assert caught.value.errcode == "M_INVALID_PARAM"
        assert "'to'" in caught.value.error

    @pytest.mark.parametrize(("depth", "position"), [(-1, 0), (0, -(2**63)), (None, -1), (2**63, 0), (None, 2**63)])
    def test_impossible(self, depth: int | None, position: int) -> None:
        with pytest.raises(ValueError):
            RoomToken(depth, position)
