"""The file of names."""

from __future__ import annotations

import os
from pathlib import Path

from matrixd.net.hosts_file import HostsFile
from tests.support.clock import TestClock


def test_names_and_their_addresses(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    lines = ["# a comment", "127.0.0.1 localhost", "::1\tlocalhost LOCALHOST # again", "192.0.2.1 a.example. b", "x y"]
    path.write_text("\n".join(lines))
    hosts = HostsFile(path, TestClock().monotonic)
    assert hosts.addresses("LocalHost") == ["127.0.0.1", "::1"]
    assert hosts.addresses("a.example") == hosts.addresses("b") == ["192.0.2.1"]
    assert list(hosts.addresses("y")) == []


def test_a_change_is_seen_after_a_while(tmp_path: Path) -> None:
    path, clock = tmp_path / "hosts", TestClock()
    hosts = HostsFile(path, clock.monotonic)
    assert list(hosts.addresses("a")) == []
    path.write_text("192.0.2.1 a\n")
    assert list(hosts.addresses("a")) == []
    clock.advance(11)
    assert hosts.addresses("a") == ["192.0.2.1"]
    path.write_text("192.0.2.2 a\n")
    os.utime(path, (1, 1))
    clock.advance(11)
    assert hosts.addresses("a") == ["192.0.2.2"]
    path.unlink()
    clock.advance(11)
    assert list(hosts.addresses("a")) == []
