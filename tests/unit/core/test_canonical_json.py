"""Canonical JSON, with the examples of https://spec.matrix.org/v1.19/appendices/#canonical-json."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import canonicaljson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core import canonical_json
from matrixd.core.errors import NotCanonical

EXAMPLES = [
    ("{}", "{}"),
    ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
    ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
    ('{"b":"2","a":"1"}', '{"a":"1","b":"2"}'),
    (
        """
        {"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
        "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
        {"medium": "msisdn", "address": "123456789"}]}}}
        """,
        '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
        '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
        '"success":true}}',
    ),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    ('{"a": "\\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
]

integers = st.integers(-canonical_json.MAX_INTEGER, canonical_json.MAX_INTEGER)
leaves = st.none() | st.booleans() | integers | st.text()
strict_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
any_values = st.recursive(
    leaves | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(("text", "canonical"), EXAMPLES)
def test_examples_of_the_specification(text: str, canonical: str) -> None:
    value = canonical_json.decode(text)
    assert canonical_json.encode(value) == canonical.encode()
    assert canonical_json.encode_strict(value) == canonical.encode()


def test_the_example_with_other_spellings_of_integers() -> None:
    # Exponents are read as floats, which the strict form refuses; -0 is the integer 0.
    assert canonical_json.encode_strict(canonical_json.decode('{"a": -0}')) == b'{"a":0}'
    assert (
        canonical_json.encode_strict({"a": -0, "b": int(canonical_json.decode("1e10"))}) == b'{"a":0,"b":10000000000}'
    )
    with pytest.raises(NotCanonical, match="b is a float"):
        canonical_json.encode_strict(canonical_json.decode('{"a": -0, "b": 1e10}'))


def test_every_control_character_is_escaped_as_the_grammar_says() -> None:
    text = "".join(map(chr, range(0x80)))
    escaped = canonical_json.encode(text).decode()
    short = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
    assert escaped == '"' + "".join(short.get(c, f"\\u{c:04x}" if c < 0x20 else chr(c)) for c in range(0x80)) + '"'


def test_keys_are_sorted_by_code_point_not_by_utf16_unit() -> None:
    assert canonical_json.encode({"\U0001f600": 1, "\uffff": 2}) == '{"\uffff":2,"\U0001f600":1}'.encode()


@settings(max_examples=200)
@given(strict_values)
def test_strict_values_come_back_and_equal_the_reference(value: Any) -> None:
    text = canonical_json.encode_strict(value)
    assert text == canonical_json.encode(value) == canonicaljson.encode_canonical_json(value)
    assert canonical_json.decode(text) == value
    assert canonical_json.encode(canonical_json.decode(text)) == text


@settings(max_examples=200)
@given(any_values)
def test_the_fast_way_equals_the_slow_one_and_the_reference(value: Any) -> None:
    try:
        expected = canonicaljson.encode_canonical_json(value)
    except UnicodeEncodeError:
        with pytest.raises(NotCanonical, match="lone surrogate"):
            canonical_json.encode(value)
    else:
        assert canonical_json.encode(value) == canonical_json._encode_slowly(value) == expected


@settings(max_examples=200)
@given(any_values)
def test_the_strict_form_is_the_lenient_one_or_refused(value: Any) -> None:
    if _is_strict(value):
        assert canonical_json.encode_strict(value) == canonical_json.encode(value)
    else:
        with pytest.raises(NotCanonical):
            canonical_json.encode_strict(value)


def _is_strict(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_strict, (*value, *value.values())))
    if isinstance(value, list):
        return all(map(_is_strict, value))
    if isinstance(value, str):
        return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)
    if isinstance(value, int):
        return abs(value) < 2**53
    return not isinstance(value, float)


@pytest.mark.parametrize("number", [2**53 - 1, -(2**53) + 1, 0, True])
def test_integers_within_the_range_are_allowed(number: int) -> None:
    canonical_json.check({"n": number})


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, 2**64, -(2**70)])
def test_integers_beyond_the_range_are_for_old_rooms_only(number: int) -> None:
    with pytest.raises(NotCanonical, match=r"^content\.n\[1\] is an integer beyond"):
        canonical_json.check({"content": {"n": [0, number]}})
    assert canonical_json.encode([number]) == f"[{number}]".encode()
    assert canonical_json.decode(f"[{number}]") == [number]


def test_floats_are_for_old_rooms_only() -> None:
    with pytest.raises(NotCanonical, match=r"^a is a float"):
        canonical_json.check({"a": 1.5})
    assert canonical_json.encode({"a": 1.5, "b": 1e16}) == b'{"a":1.5,"b":1e+16}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused(number: float) -> None:
    with pytest.raises(NotCanonical, match="The value is not a finite number"):
        canonical_json.encode(number)


class _Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({1: 2}, "The value has a key that is not a string"),
        ({"a": {None: 2}}, "a has a key that is not a string"),
        ({"a": "\ud800"}, "a has a lone surrogate"),
        ({"a": [{"\udfff": 1}]}, r"a\[0\] has a key with a lone surrogate"),
        ({"a": {1, 2}}, "a is a set"),
        ({"a": b"x"}, "a is a bytes"),
        ([_Colour.RED], "is a _Colour"),
        ({"k" * 200: object()}, "k…"),
    ],
)
def test_what_is_not_json_is_named_with_its_place(value: Any, sentence: str) -> None:
    for encode in (canonical_json.encode, canonical_json.encode_strict):
        with pytest.raises(NotCanonical, match=sentence):
            encode(value)


def test_tuples_and_subclasses_are_written_as_what_they_are() -> None:
    class Text(str):
        pass

    assert canonical_json.encode({"a": (1, Text("b"))}) == b'{"a":[1,"b"]}'
    assert canonical_json.encode_strict({"a": (1, Text("b"))}) == b'{"a":[1,"b"]}'


def test_deep_nesting_is_written_as_far_as_it_goes_and_then_refused() -> None:
    deep = nested(300)
    assert canonical_json.encode_strict(deep) == canonical_json.encode(deep) == b"[" * 300 + b"1" + b"]" * 300
    for encode in (canonical_json.encode, canonical_json.encode_strict):
        with pytest.raises(NotCanonical, match="nested too deeply"):
            encode(nested(100_000))


@pytest.mark.parametrize(
    "text", ["", "{", "{'a':1}", "NaN", '"\\ud800"', "[1,]", "[" * 5000 + "]" * 5000, '"\x01"', "01", b'"\xff"']
)
def test_what_is_not_json_is_not_read(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        canonical_json.decode(text)


def test_a_float_in_deep_nesting_is_refused_as_json_not_as_a_crash() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        canonical_json.decode("[" * 1000 + "1.5" + "]" * 1000)


def test_of_members_with_one_name_the_last_counts() -> None:
    assert canonical_json.decode('{"a":1,"a":2}') == {"a": 2}
    assert canonical_json.decode('{"a":1.5,"a":2.5}') == {"a": 2.5}


def test_decode_reads_integers_of_any_size_and_nothing_else_with_them() -> None:
    digits = "9" * 400
    text = '{"n":DIGITS,"s":"\\u1234DIGITS"}'.replace("DIGITS", digits)
    assert canonical_json.decode(text) == {"n": int(digits), "s": "\u1234" + digits}
    for wrong in ('{"n":DIGITS,"s":"\\ud800"}', '{"n":DIGITS,"s":NaN}', '{"n":DIGITS', '{"n":0DIGITS}'):
        with pytest.raises(ValueError, match=r"."):
            canonical_json.decode(wrong.replace("DIGITS", digits))
