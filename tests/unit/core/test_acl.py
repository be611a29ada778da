"""Which servers an access control list lets into a room."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.acl import ServerAcl, host_of, is_ip_literal, server_allowed
from matrixd.core.event import Event
from tests.unit.core.room_factory import ALICE, RoomFactory


def _acl(**content: Any) -> Event:
    return RoomFactory().event("m.room.server_acl", ALICE, content, "")


@pytest.mark.parametrize(
    ("server_name", "host"),
    [
        ("evil.com", "evil.com"),
        ("evil.com:8448", "evil.com"),
        ("1.2.3.4:1", "1.2.3.4"),
        ("[::1]", "[::1]"),
        ("[::1]:8448", "[::1]"),
        ("[2001:db8::1:8448]", "[2001:db8::1:8448]"),
    ],
)
def test_ports_are_cut_off(server_name: str, host: str) -> None:
    assert host_of(server_name) == host


@pytest.mark.parametrize(
    "host", ["1.2.3.4", "255.255.255.255", "[::1]", "[1234:5678::abcd]", "001.02.3.4", "1.2.3.999"]
)
def test_ip_literals(host: str) -> None:
    assert is_ip_literal(host)


@pytest.mark.parametrize(
    "host", ["matrix.org", "1.2.3", "1.2.3.4.5", "1.2.3.4.example", "a1.2.3.4", "1234.1.1.1", "::1"]
)
def test_names(host: str) -> None:
    assert not is_ip_literal(host)


def test_without_list_everybody_is_allowed() -> None:
    assert server_allowed(None, "evil.com")


@pytest.mark.parametrize(
    ("content", "allowed", "denied"),
    [
        ({"allow": ["*"]}, ["matrix.org", "1.2.3.4", "[::1]:1"], []),
        ({}, [], ["matrix.org", "1.2.3.4"]),
        ({"allow": ["*"], "deny": ["*"]}, [], ["matrix.org"]),
        ({"allow": ["*"], "deny": ["evil.com"]}, ["a.evil.com", "evil.com.org"], ["evil.com", "evil.com:1234"]),
        ({"allow": ["*"], "deny": ["*.evil.com"]}, ["evil.com", "notevil.com"], ["a.evil.com:8448", "a.b.evil.com"]),
        ({"allow": ["*"], "deny": ["EVIL.com", "*.Bad.org"]}, ["good.com"], ["evil.COM", "A.bad.ORG"]),
        ({"allow": ["Matrix.org"]}, ["matrix.org", "MATRIX.ORG:8448"], ["matrix.com"]),
        ({"allow": ["m?trix.org"]}, ["matrix.org", "metrix.org"], ["mtrix.org", "maatrix.org"]),
        ({"allow": ["matrix.org:8448"]}, [], ["matrix.org", "matrix.org:8448"]),
        ({"allow": ["a.b"]}, ["a.b"], ["axb"]),
        ({"allow": ["[a-z].org", "*"], "deny": ["[ab].org"]}, ["a.org", "b.org"], []),
        ({"allow": ["*"], "allow_ip_literals": False}, ["matrix.org"], ["1.2.3.4", "1.2.3.4:8448", "[::1]", "[::1]:1"]),
        ({"allow": ["1.2.3.4"], "allow_ip_literals": False}, [], ["1.2.3.4"]),
        ({"allow": ["*"], "allow_ip_literals": "false"}, ["1.2.3.4"], []),
        ({"allow": ["*"], "allow_ip_literals": 0}, ["1.2.3.4"], []),
        ({"allow": ["*"], "allow_ip_literals": None, "deny": ["1.2.*"]}, ["2.1.1.1"], ["1.2.3.4"]),
        ({"allow": ["[::1]"]}, ["[::1]:8448"], ["[::2]"]),
        ({"allow": "*"}, [], ["matrix.org"]),
        ({"allow": {"*": 1}}, [], ["matrix.org"]),
        ({"allow": ["*"], "deny": "*"}, ["matrix.org"], []),
        ({"allow": [17, None, "*"], "deny": [{}, "evil.com"]}, ["matrix.org"], ["evil.com"]),
    ],
)
def test_lists(content: dict[str, Any], allowed: list[str], denied: list[str]) -> None:
    acl = ServerAcl(_acl(**content))
    assert [name for name in allowed + denied if acl.allows(name)] == allowed
    assert [name for name in allowed + denied if server_allowed(_acl(**content), name)] == allowed


def test_hostile_patterns_take_no_time() -> None:
    acl = ServerAcl(_acl(allow=["*"], deny=["*a" * 60 + "b"] * 50))
    start = time.perf_counter()
    assert acl.allows("a" * 230)
    assert time.perf_counter() - start < 1


@settings(max_examples=100, deadline=None)
@given(
    content=st.dictionaries(st.sampled_from(["allow", "deny", "allow_ip_literals"]), st.lists(st.text()) | st.none())
)
def test_denied_by_default(content: dict[str, Any]) -> None:
    acl = ServerAcl(_acl(**content))
    if "matrix.org" in (content.get("deny") or ()) or not content.get("allow"):
        assert not acl.allows("matrix.org")
    assert acl.allows("matrix.org") == acl.allows("MATRIX.org:8448")
