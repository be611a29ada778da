"""Which addresses connections may go to."""

from __future__ import annotations

import pytest

from matrixd.config.federation import PRIVATE_RANGES, UNROUTABLE, AddressRules
from matrixd.net.addresses import is_address, is_allowed
from tests.unit.net.loopback import rules

DEFAULT = AddressRules((*UNROUTABLE, *PRIVATE_RANGES), ())


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(DEFAULT, address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:a01:203"),
        *("64:ff9b::10.0.0.1", "2002:7f00:1::", "2001:0:0:0:0:0:f5fe:fdfc"),
    ],
)
def test_private_ones_are_not_whatever_their_form(address: str) -> None:
    assert not is_allowed(DEFAULT, address)


def test_what_is_allowed_is_allowed_even_if_it_is_denied() -> None:
    some = rules("10.0.0.0/8", allowed=("10.1.0.0/16",))
    assert is_allowed(some, "10.1.2.3")
    assert is_allowed(some, "::ffff:10.1.2.3")
    assert not is_allowed(some, "10.2.2.3")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("1.2.3.4", True), ("::1", True), ("1.2.3", False), ("127.1", False), ("0x7f.0.0.1", False), ("a.example", False)],
)
def test_what_is_an_address(host: str, expected: bool) -> None:
    assert is_address(host) is expected
