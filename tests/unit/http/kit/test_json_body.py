"""Bodies: what is no JSON, what has another shape, and what no later step could bear."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.errors import MatrixError
from matrixd.http.kit import json_body
from tests.unit.http.kit.peer import Named


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"name": "a"} x',
        b"   ",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xef\xbb\xbf{}",
        b'{"name": "\xff"}',
        b'{"name": "a", "unknown": "\xff"}',
        b'{"name": "a", "\xff": 1}',
        b'{"name": "\xed\xa0\x80"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\\udc00\\ud800"}',
        b'{"name": "a", "unknown": "\\ud800"}',
        b'{"name": "a\x00b"}',
        b'{"name": "a\nb"}',
    ],
)
def test_no_json(body: bytes) -> None:
    for decode in (json_body.decode, lambda body: json_body.decode_as(body, Named)):
        with pytest.raises(MatrixError) as raised:
            decode(body)
        assert (raised.value.status, raised.value.errcode) == (400, "M_NOT_JSON")


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"[]", "object"),
        (b"null", "object"),
        (b"", "name"),
        (b"{}", "name"),
        (b'{"name": 1}', "'name'"),
        (b'{"name": null}', "'name'"),
        (b'{"name": "a", "inner": {"name": []}}', "'inner.name'"),
        (b'{"name": "a", "size": 1.5}', "'size'"),
        (b'{"name": "a", "size": true}', "'size'"),
        (b'{"name": "a", "size": 1e3}', "'size'"),
        (b'{"name": "a", "size": 9007199254740992}', "'size'"),
        (b'{"name": "a", "size": -9007199254740992}', "'size'"),
        (b'{"name": "a", "size": 123456789012345678901234567890}', "'size'"),
        (b'{"name": "a", "size": ' + b"1" * 5000 + b"}", "'size'"),
        (b'{"name": "a\\u0000"}', "'name'"),
        (b'{"name": "a", "inner": {"name": "\\u0000"}}', "'inner.name'"),
        (b'{"name": "a", "names": ["b", "\\u0000"]}', "'names[1]'"),
    ],
)
def test_another_shape(body: bytes, names: str) -> None:
    with pytest.raises(MatrixError) as raised:
        json_body.decode_as(body, Named)
    assert (raised.value.status, raised.value.errcode) == (400, "M_BAD_JSON")
    assert names in raised.value.error


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a", "size": 9007199254740991, "unknown": 1}',
        b'{"name": "1234567890123456"}',
        b'{"name": "\\\\u0000"}',
        b'{"name": "a", "free": {"n": "\\u0000", "i": 123456789012345678901234567890}}',
        '{"name": "é\N{GRINNING FACE}", "names": ["\\ud83d\\ude00"]}'.encode(),
    ],
)
def test_what_is_right_passes(body: bytes) -> None:
    assert json_body.decode_as(body, Named).name


def test_large_integers_stay_integers() -> None:
    value = json_body.decode(b'{"a": 123456789012345678901234567890, "b": 1.0, "c": 18446744073709551616}')
    assert value == {"a": 123456789012345678901234567890, "b": 1.0, "c": 2**64}
    assert [type(member) for member in value.values()] == [int, float, int]
    with pytest.raises(MatrixError):
        json_body.decode(b"1" * 5000)


def test_an_empty_body_is_an_empty_object() -> None:
    assert json_body.decode(b"") == {}


class TestNesting:
    @pytest.mark.parametrize("opening", [b"[", b'{"a":'])
    def test_too_deep(self, opening: bytes) -> None:
        closing = b"]" if opening == b"[" else b"}"
        for depth in (101, 5_000, 300_000):
            for body in (opening * depth + b"1" + closing * depth, opening * depth):
                for wrapped in (body, b'{"name": "a", "free": ' + body, b'{"unknown": ' + body):
                    with pytest.raises(MatrixError) as raised:
                        json_body.decode_as(wrapped, Named)
                    assert raised.value.errcode == "M_BAD_JSON"
                with pytest.raises(MatrixError):
                    json_body.decode(body)

    def test_deep_but_not_too_deep(self) -> None:
        depth = json_body.MAX_NESTING
        assert json_body.decode(b"[" * depth + b"]" * depth)

    def test_wide_is_not_deep(self) -> None:
        assert len(json_body.decode(b"[" + b",".join([b'{"a": [1]}'] * 1000) + b"]")) == 1000

    def test_brackets_in_strings_do_not_nest(self) -> None:
        text = "[" * 500 + '\\"' + "{" * 500 + "\\\\"
        assert json_body.decode(f'["{text}", "{text}"]'.encode())[0].startswith("[[[")

    def test_brackets_after_odd_quotes_are_seen(self) -> None:
        for prefix in (b'["\\\\",', b'["\\"",', b'["\\\\\\"",', b'["",'):
            with pytest.raises(MatrixError) as raised:
                json_body.decode(prefix + b"[" * 200 + b"]" * 200 + b"]")
            assert "levels" in raised.value.error

    def test_it_is_linear(self) -> None:
        for body in (b'"' + b'\\"' * 500_000, b"\\" * 1_000_000 + b"[" * 101, b'"[' * 500_000):
            started = time.process_time()
            with pytest.raises(MatrixError):
                json_body.decode(body)
            assert time.process_time() - started < 2


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


def _as_text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@settings(max_examples=200, deadline=None)
@given(st.binary() | _json.map(_as_text))
def test_any_bytes_get_a_value_or_an_error_of_ours(body: bytes) -> None:
    refused = []
    for decode in (json_body.decode, lambda body: json_body.decode_as(body, Named)):
        try:
            decode(body)
        except MatrixError as error:
            refused.append(error)
    assert {error.errcode for error in refused} <= {"M_NOT_JSON", "M_BAD_JSON"}
    assert all(error.error.isprintable() for error in refused)


@settings(max_examples=100, deadline=None)
@given(_json)
def test_what_python_writes_is_read_alike(value: object) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
        text.encode("ascii").decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")
    except ValueError:
        return  # NaN or a lone surrogate
    assert json_body.decode(text.encode()) == value
