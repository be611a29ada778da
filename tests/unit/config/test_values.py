"""Parsers of single values."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.config.faults import Findings, WrongValue
from matrixd.config.values import (
    Parser,
    boolean,
    choice,
    duration_ms,
    each,
    http_url,
    integer,
    ip_range,
    path,
    positive,
    regex,
    size_bytes,
    text,
)
from matrixd.config.yaml_tree import Value, _Tree


def value(yaml: str) -> Value:
    tree = _Tree(Path("/etc/test.yaml"), Findings()).build(f"v: {yaml}\n")
    parsed: Value = tree.data["v"]
    return parsed


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("0", 0),
        ("1500", 1500),
        ("'1500'", 1500),
        ("250ms", 250),
        ("30s", 30_000),
        ("0.5s", 500),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("1y", 31_536_000_000),
    ],
)
def test_time_spans(yaml: str, expected: int) -> None:
    assert duration_ms()(value(yaml)) == expected


@pytest.mark.parametrize("yaml", ["5 minutes", "-1", "true", "[1]", "1h30m", "''", "1M", "٣s"])
def test_what_is_no_time_span(yaml: str) -> None:
    with pytest.raises(WrongValue, match="is not a time span"):
        duration_ms()(value(yaml))


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [("0", 0), ("512", 512), ("10K", 10_240), ("50M", 52_428_800), ("1.5G", 1_610_612_736), ("5MB", 5_242_880)],
)
def test_sizes(yaml: str, expected: int) -> None:
    assert size_bytes()(value(yaml)) == expected


@pytest.mark.parametrize("yaml", ["50m", "-1", "M", "{}", "lots"])
def test_what_is_no_size(yaml: str) -> None:
    with pytest.raises(WrongValue, match="is not a size"):
        size_bytes()(value(yaml))


def test_a_bare_off_is_the_word_where_words_are_expected() -> None:
    assert value("off").data is False
    assert choice("off", "on")(value("off")) == "off"


def test_truth_is_written_without_quotes() -> None:
    assert boolean(value("true")) is True
    for yaml in ("'true'", "1", "[]"):
        with pytest.raises(WrongValue, match="not true or false"):
            boolean(value(yaml))


def test_numbers_have_bounds() -> None:
    assert integer(1, 3)(value("3")) == 3
    for yaml in ("0", "4", "1.0", "true", "'1'"):
        with pytest.raises(WrongValue):
            integer(1, 3)(value(yaml))
    assert positive(value("0.003")) == 0.003
    for yaml in ("0", "-1", ".nan", ".inf"):
        with pytest.raises(WrongValue):
            positive(value(yaml))


def test_a_list_tells_of_all_its_wrong_items() -> None:
    with pytest.raises(WrongValue) as caught:
        each(each(integer()))(value("[[1, a], x, [2], [b]]"))
    assert [fault.option for fault in caught.value.faults] == ["[0][1]", "[1]", "[3][0]"]


def test_paths_count_from_the_file() -> None:
    assert path(value("a/../b")) == Path("/etc/b")
    assert path(value("/var/b")) == Path("/var/b")


@pytest.mark.parametrize(
    ("parse", "right", "wrong"),
    [
        (text, ["x"], ["''", "1", "[]"]),
        (ip_range, ["10.0.0.0/8", "'::1'", "192.168.1.1"], ["10.0.0.0/33", "localhost"]),
        (http_url, ["http://a.example", "https://[::1]:8448/x/"], ["ftp://a.example", "a.example", "'http://'", "http://a:x/"]),
        (regex, ["'@a.*'"], ["'('"]),
    ],
)  # fmt: skip
def test_text_with_a_grammar(parse: Parser[object], right: list[str], wrong: list[str]) -> None:
    for yaml in right:
        parse(value(yaml))
    for yaml in wrong:
        with pytest.raises(WrongValue):
            parse(value(yaml))


@settings(max_examples=100)
@given(st.integers(0, 10**9), st.sampled_from(["ms", "s", "m", "h", "d", "w"]))
def test_time_spans_grow_with_their_number(count: int, unit: str) -> None:
    assert duration_ms()(value(f"{count}{unit}")) == count * duration_ms()(value(f"1{unit}"))
