"""Large objects that come piece by piece."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core import canonical_json
from matrixd.net import json_stream
from matrixd.net.json_stream import ObjectReader

LISTS = ("state", "auth_chain")


def read(data: bytes, size: int = 7, **limits: int) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """The items and the rest, read in pieces of this size."""
    reader = ObjectReader(LISTS, **limits)
    items = [item for at in range(0, len(data), size) for item in reader.feed(data[at : at + size])]
    items += reader.close()
    return items, reader.rest


@pytest.fixture(autouse=True)
def _read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_READ_BYTES", 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)


@settings(max_examples=150)
@given(
    st.dictionaries(st.text().filter(lambda name: name not in LISTS), JSON, max_size=4),
    st.lists(OBJECTS, max_size=5),
    st.lists(OBJECTS, max_size=3),
    st.integers(1, 50),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_it_means_the_same_as_read_at_once(
    rest: dict[str, Any],
    state: list[Any],
    chain: list[Any],
    size: int,
    indent: int | None,
    ascii_only: bool,
) -> None:
    data = json.dumps({"state": state, **rest, "auth_chain": chain}, indent=indent, ensure_ascii=ascii_only).encode(
        "utf-8", "surrogatepass"
    )
    try:
        expected = canonical_json.decode(data)
    except ValueError:
        with pytest.raises(ValueError):
            read(data, size)
        return
    items, others = read(data, size)
    assert [item for name, item in items if name == "state"] == expected["state"]
    assert [item for name, item in items if name == "auth_chain"] == expected["auth_chain"]
    assert others == {**expected, "state": [], "auth_chain": []}


@settings(max_examples=150)
@given(st.binary(max_size=60) | st.text("{}[]\":,\\ a1", max_size=40).map(str.encode), st.integers(1, 9))
def test_what_is_no_json_is_refused(data: bytes, size: int) -> None:
    try:
        expected = canonical_json.decode(data)
    except ValueError:
        expected = None
    if isinstance(expected, dict):
        assert read(data, size)[1].keys() == expected.keys()
    else:
        with pytest.raises(ValueError):
            read(data, size)


@pytest.mark.parametrize("end", [b"", b" ", b"\n", b"\r\n\t "])
@pytest.mark.parametrize("size", [1, 100])
def test_blanks_at_the_end_are_none_of_our_business(end: bytes, size: int) -> None:
    assert read(b'{"a":1}' + end, size)[1] == {"a": 1}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"[]", "is not JSON"),
        (b"{", "is not complete"),
        (b"", "is not complete"),
        (b'{"state":[{}', "is not complete"),
        (b'{"state":[{}]', "is not complete"),
        (b'{"state":[{}]}x', "something follows the answer"),
        (b'{"state":[{},]}', "is not JSON"),
        (b'{"state":[,{}]}', "is not JSON"),
        (b'{"state":[{}{}]}', "is not JSON"),
        (b'{"a":1,}', "is not JSON"),
        (b'{"state":{}}', "'state' must be a list"),
        (b'{"state":null}', "'state' must be a list"),
        (b'{"state":[1]}', "'state' must hold objects"),
        (b'{"state":[{},[]]}', "'state' must hold objects"),
        (b'{"state":[],"state":[{}]}', "'state' is there twice"),
        (b'{"state":[{"a":1]]}', "."),
        (b'{"state":[{"a":NaN}]}', "."),
        (b'{"a":"\xff"}', "."),
        (b'{"a":tru}', "."),
    ],
)
def test_what_is_wrong_is_named(data: bytes, problem: str) -> None:
    for size in (1, 100):
        with pytest.raises(ValueError, match=problem):
            read(data, size)


def test_numbers_stay_what_they_are() -> None:
    data = b'{"state":[{"a":123456789012345678901234567890,"b":1.5,"c":-1}],"d":12345678901234567890}'
    items, rest = read(data)
    assert items == [("state", {"a": 123456789012345678901234567890, "b": 1.5, "c": -1})]
    assert type(rest["d"]) is int


@pytest.mark.parametrize("depth", [3, 9, 10, 11, 12, 100])
def test_depth_does_not_matter(depth: int) -> None:
    deep = b'{"a":' * depth + b'"]}"' + b"}" * depth
    items, rest = read(b'{"x":' + deep + b',"state":[' + deep + b", " + deep + b"]}")
    assert items == [("state", json.loads(deep))] * 2
    assert rest["x"] == json.loads(deep)


def test_one_item_is_bounded() -> None:
    small, large = b'{"a":"%b"}' % (b"x" * 80), b'{"a":"%b"}' % (b"x" * 200)
    assert len(read(b'{"state":[' + small + b"," + small + b"]}", max_item_bytes=100)[0]) == 2
    for items in (large, small + b"," + large):
        for size in (1, 1000):
            with pytest.raises(ValueError, match=r"large|has 208 bytes"):
                read(b'{"state":[' + items + b"]}", size, max_item_bytes=100, max_rest_bytes=100)
    with pytest.raises(ValueError, match="too large"):
        read(b'{"state":[{"a":"' + b"x" * 1000, max_item_bytes=100, max_rest_bytes=100)


def test_the_rest_is_bounded() -> None:
    data = b"{" + b",".join(b'"%d":"%b"' % (number, b"x" * 20) for number in range(10)) + b"}"
    assert len(read(data, max_rest_bytes=300)[1]) == 10
    with pytest.raises(ValueError, match="too large beside its lists"):
        read(data, max_rest_bytes=200)


def test_items_come_before_the_end() -> None:
    reader = ObjectReader(LISTS)
    data = b'{"state":[' + b",".join(b'{"n":%d}' % number for number in range(1000))
    assert len(list(reader.feed(data))) == 1000
    assert list(reader.feed(b"]}")) == []
    assert list(reader.close()) == []
