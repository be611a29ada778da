"""Whatever comes in, the kit answers or refuses; nothing is raised, and how the bytes are cut makes no difference."""

from __future__ import annotations

import json
from urllib.parse import quote_from_bytes

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.errors import MatrixError
from matrixd.http.kit import percent
from matrixd.http.kit.route import Auth, BadPath, MethodNotAllowed, NoSuchPath, Route, Router
from tests.unit.http.kit.peer import World, request

_V3 = "/_matrix/client/v3"
_REQUESTS = [
    request("GET", f"{_V3}/account/whoami", Authorization="Bearer alice"),
    request("GET", f"{_V3}/open?q=1&q=2"),
    request("HEAD", f"{_V3}/open"),
    request("POST", f"{_V3}/echo", b'{"a": [1, "\xc3\xa9"]}'),
    request("POST", f"{_V3}/echo", Transfer_Encoding="chunked") + b'2\r\n[1\r\n4;e="x"\r\n,2 ]\r\n0\r\nT: x\r\n\r\n',
    request("PUT", f"{_V3}/rooms/!a%3Ab/send/m.x/1", b"{}"),
    request("POST", f"{_V3}/echo", b"x" * 2000),
    request("OPTIONS", "*"),
    b"\r\n" + request("GET", "/nothing"),
    request("GET", f"{_V3}/open", Connection="close"),
    b"GET / HTTP/1.1\r\nbroken\r\n\r\n",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(_REQUESTS), max_size=6), st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_how_the_bytes_are_cut_makes_no_difference(requests: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(requests)
    whole = World().peer().send(stream).written()
    peer = World().peer()
    rest, turn = stream, 0
    while rest:
        size = sizes[turn % len(sizes)]
        peer.send(rest[:size])
        rest, turn = rest[size:], turn + 1
    assert peer.written() == whole


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.binary(max_size=60) | st.sampled_from([*_REQUESTS, b"GET ", b" HTTP/1.1\r\n", b"\r\n", b"\r\n\r\n", b": "]),
        max_size=10,
    )
)
def test_any_bytes_are_answered_or_refused(parts: list[bytes]) -> None:
    world = World()
    peer = world.peer()
    for part in parts:
        peer.send(part)
    world.reactor.pump([5] * 40)
    assert not peer.is_open
    assert 500 not in [int(line.split()[1]) for line in peer.written().splitlines() if b"HTTP/1.1 " in line[:9]]


async def _nothing(call: object) -> object:
    return call


_ROUTER = Router(
    [
        Route("GET", "/a/{x}/c", _nothing, spec="x", auth=Auth.NONE),
        Route("GET", "/a/b/{y}", _nothing, spec="x", auth=Auth.NONE),
        Route("PUT", "/a/{x}/{y}/{stateKey}", _nothing, spec="x", auth=Auth.NONE),
        Route("GET", "/a/b/c", _nothing, spec="x", auth=Auth.NONE),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"GET", b"PUT", b"X"]), st.binary(max_size=40) | st.from_regex(rb"(/[abc%]{0,2}){0,6}"))
def test_the_router_finds_or_says_why_not(method: bytes, path: bytes) -> None:
    try:
        found = _ROUTER.find(method, path)
    except (NoSuchPath, MethodNotAllowed, BadPath):
        return
    assert found.route.method.encode() == method
    assert len(found.parameters) == found.route.path.count("{")


_segment = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(_segment, _segment, _segment | st.just(""))
def test_what_is_encoded_comes_out_decoded(x: str, y: str, state_key: str) -> None:
    path = "/".join(quote_from_bytes(part.encode(), safe="") for part in ("", "a", x, y, state_key)).encode()
    assert _ROUTER.find(b"PUT", path).parameters == {"x": x, "y": y, "stateKey": state_key}
    query = b"&".join(b"%b=%b" % (b"n", quote_from_bytes(part.encode(), safe="").encode()) for part in (x, y))
    assert percent.parse_query(query) == {b"n": [x.encode(), y.encode()]}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text("ab=&+%0fF;", max_size=40).map(str.encode))
def test_any_query_is_read_or_refused(query: bytes) -> None:
    try:
        arguments = percent.parse_query(query)
    except MatrixError as error:
        json.dumps(error.body())
        return
    assert sum(map(len, arguments.values())) == len([pair for pair in query.split(b"&") if pair])
