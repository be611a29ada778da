"""The grammar of https://spec.matrix.org/v1.19/appendices/#identifier-grammar."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from matrixd.core import identifiers
from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import ServerAddress

LONG_DOMAIN = "d" * 230 + ".example.org"


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("matrix.org", "matrix.org", None),
        ("matrix.org:8888", "matrix.org", 8888),
        ("1.2.3.4", "1.2.3.4", None),
        ("1.2.3.4:1234", "1.2.3.4", 1234),
        ("[1234:5678::abcd]", "1234:5678::abcd", None),
        ("[1234:5678::abcd]:5678", "1234:5678::abcd", 5678),
        ("[::ffff:1.2.3.4]", "::ffff:1.2.3.4", None),
        ("localhost", "localhost", None),
        ("EXAMPLE.org", "EXAMPLE.org", None),
        ("a" * 255, "a" * 255, None),
    ],
)
def test_server_names(name: str, host: str, port: int | None) -> None:
    assert identifiers.is_server_name(name)
    assert identifiers.parse_server_name(name) == ServerAddress(host, port)


@pytest.mark.parametrize(
    "name",
    [
        *("", ":80", "a:", "a:123456", "a:b", "a b", "ex_ample.org", "é.org", "a" * 256, "a/b", "user@host", "a\n"),
        *("[::1", "::1", "[zz::1]", "[1:2:3]", "[::1]x", "\u0661.example", "a:\u0661", None, 5, b"example.org"),
    ],
)
def test_what_is_no_server_name(name: object) -> None:
    assert not identifiers.is_server_name(name)
    if isinstance(name, str):
        with pytest.raises(ValueError, match="is not a server name"):
            identifiers.parse_server_name(name)


@pytest.mark.parametrize(
    ("value", "historical", "compliant", "new"),
    [
        ("@alice:example.org", True, True, True),
        ("@a._=-/+9:example.org:8448", True, True, True),
        ("@Alice:example.org", True, True, False),
        ("@alice!*:example.org", True, True, False),
        ("@:example.org", True, False, False),
        ("@al ice:example.org", True, False, False),
        ("@älice:example.org", True, False, False),
        ("@\x01:example.org", True, False, False),
        ("@" + "a" * 242 + ":example.org", True, True, True),
        ("@" + "a" * 243 + ":example.org", False, False, False),
        ("@" + "é" * 121 + ":example.org", True, False, False),
        ("@" + "é" * 122 + ":example.org", False, False, False),
        ("@a\0:example.org", False, False, False),
        ("@é\0:example.org", False, False, False),
        ("@\ud800:example.org", False, False, False),
        ("@alice", False, False, False),
        ("@alice:", False, False, False),
        ("@alice:ex ample", False, False, False),
        ("alice:example.org", False, False, False),
        ("", False, False, False),
        (None, False, False, False),
        (7, False, False, False),
    ],
)
def test_user_ids(value: object, historical: bool, compliant: bool, new: bool) -> None:
    assert identifiers.is_user_id(value) is historical
    assert identifiers.is_compliant_user_id(value) is compliant
    assert identifiers.is_new_user_id(value) is new


def test_room_ids_have_a_domain_or_are_a_hash() -> None:
    with_domain, opaque = "!abc:example.org", "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
    assert identifiers.is_room_id_with_domain(with_domain)
    assert not identifiers.is_room_id_with_domain(opaque)
    assert identifiers.is_opaque_room_id(opaque)
    assert not identifiers.is_opaque_room_id(with_domain)
    assert identifiers.is_room_id(with_domain)
    assert identifiers.is_room_id(opaque)


@pytest.mark.parametrize("value", ["!", "abc", "!a b", "!a:b c", "!" + "a" * 255, None, "#a:b", "!abc\n", "!a/b"])
def test_what_is_no_room_id(value: object) -> None:
    assert not identifiers.is_room_id(value)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("#room:example.org", True),
        ("#ünï cöde:example.org", True),
        ("#:example.org", True),
        ("#room", False),
        ("#ro\0om:example.org", False),
        ("#" + "r" * 243 + ":example.org", False),
        ("room:example.org", False),
    ],
)
def test_aliases(value: str, result: bool) -> None:
    assert identifiers.is_room_alias(value) is result


@pytest.mark.parametrize(
    ("value", "result", "with_domain"),
    [
        ("$abc:example.org", True, True),
        ("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", True, False),
        ("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", True, False),
        ("$", False, False),
        ("", False, False),
        ("abc", False, False),
        ("$a\0", False, False),
        ("$" + "a" * 255, False, False),
        (5, False, False),
    ],
)
def test_event_ids(value: object, result: bool, with_domain: bool) -> None:
    assert identifiers.is_event_id(value) is result
    assert identifiers.is_event_id_with_domain(value) is with_domain


def test_taking_identifiers_apart() -> None:
    assert identifiers.domain_of("@alice:example.org:8448") == "example.org:8448"
    assert identifiers.localpart_of("@alice:example.org:8448") == "alice"
    assert identifiers.user_id("alice", "example.org") == "@alice:example.org"
    for function in (identifiers.domain_of, identifiers.localpart_of):
        with pytest.raises(ValueError, match="has no domain"):
            function("!opaque")


@pytest.mark.parametrize("value", ["", "a\n", "a\x7f", "d" * 513, "\ud800", None, "\0"])
def test_what_is_no_device_id(value: object) -> None:
    assert not identifiers.is_device_id(value)


def test_key_ids() -> None:
    assert identifiers.is_signing_key_id("ed25519:a_Bc1")
    for value in ("ed25519", "ed25519:", ":a", "ed25519:a-b", "ed25519:a b", None, "ed25519:" + "a" * 200):
        assert not identifiers.is_signing_key_id(value)
    assert identifiers.parse_key_id("curve25519:JLAFKJWSCS") == ("curve25519", "JLAFKJWSCS")
    for text in ("ed25519", "ed25519:", ":a", ""):
        with pytest.raises(ValueError, match="is not a key ID"):
            identifiers.parse_key_id(text)


@pytest.mark.parametrize(
    ("test", "good", "bad"),
    [
        (identifiers.is_device_id, ["JLAFKJWSCS", "ä device", "d" * 512], []),
        (identifiers.is_opaque_id, ["a", "AZaz09-._~", "a" * 255], ["", "a" * 256, "a+b", "a b", "é", None, "a\n"]),
        (
            identifiers.is_namespaced_id,
            ["m.room", "a", "a" * 255, "com.ex-ample_9"],
            ["", "M", "9a", ".a", "a" * 256, 1],
        ),
        (identifiers.is_client_secret, ["monkeys_are_GREAT", "a.=-"], ["", "a" * 256, "a+b", None]),
    ],
)
def test_the_other_grammars(test: Callable[[object], bool], good: list[object], bad: list[object]) -> None:
    assert all(map(test, good))
    assert not any(map(test, bad))


@pytest.mark.parametrize(
    ("validate", "good"),
    [
        (identifiers.validate_server_name, "example.org"),
        (identifiers.validate_user_id, "@alice:example.org"),
        (identifiers.validate_room_id, "!room:example.org"),
        (identifiers.validate_room_alias, "#room:example.org"),
        (identifiers.validate_event_id, "$event"),
        (identifiers.validate_device_id, "DEVICE"),
        (identifiers.validate_opaque_id, "abc"),
        (identifiers.validate_namespaced_id, "m.abc"),
        (identifiers.validate_client_secret, "abc"),
    ],
)
def test_validation_returns_the_value_or_names_the_field(validate: Callable[[object, str], str], good: str) -> None:
    assert validate(good, "the_field") == good
    for bad in (None, 5, "", ["x"], "\0"):
        with pytest.raises(MatrixError) as caught:
            validate(bad, "the_field")
        assert caught.value.status == 400
        assert caught.value.errcode == "M_INVALID_PARAM"
        assert caught.value.error.startswith("the_field must be ")


def test_localparts_of_new_users() -> None:
    assert identifiers.validate_new_localpart("alice", "username", "example.org") == "alice"
    for bad in ("Alice", "", None, "al ice", "é", "a\n", "a" * 250):
        with pytest.raises(MatrixError, match="username") as caught:
            identifiers.validate_new_localpart(bad, "username", LONG_DOMAIN if bad == "a" * 250 else "example.org")
        assert caught.value.errcode == "M_INVALID_USERNAME"
