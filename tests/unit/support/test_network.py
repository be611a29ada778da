"""The network of the federation tests: whose connection it is, and what faults do to it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.federation.network import Door, Network, Passage

_ECHO = """
import socket
with socket.create_connection(("127.0.0.1", {port}), 5) as held:
    held.settimeout(2)
    held.sendall(b"hello")
    print(held.recv(5).decode())
"""


class Echo:
    """Says everything back."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                held, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(held,), daemon=True).start()

    def _answer(self, held: socket.socket) -> None:
        with held, contextlib.suppress(ConnectionError):
            while said := held.recv(65536):
                held.sendall(said)


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


@pytest.fixture
def mine(network: Network) -> Door:
    """The door of this process."""
    door = network.new_door()
    door.leads_to(1, os.getpid)
    return door


@pytest.fixture
def theirs(network: Network, echo: Echo) -> Door:
    """The door of a server whose process is another."""
    door = network.new_door()
    door.leads_to(echo.port, lambda: None)
    return door


def _talk(door: Door, timeout: float = 5.0) -> bytes:
    with socket.create_connection(("127.0.0.1", door.port), timeout) as held:
        held.sendall(b"hello")
        return held.recv(5)


def test_what_is_said_passes_whole(network: Network, mine: Door, theirs: Door) -> None:
    said = os.urandom(3_000_000)
    with socket.create_connection(("127.0.0.1", theirs.port), 10) as held:
        threading.Thread(target=held.sendall, args=(said,), daemon=True).start()
        heard = b""
        while len(heard) < len(said):
            heard += held.recv(1_000_000)
    assert heard == said
    assert network.connections_opened(mine.name, theirs.name) == 1


def test_the_end_of_a_connection_passes_after_what_was_said(mine: Door, theirs: Door) -> None:
    with socket.create_connection(("127.0.0.1", theirs.port), 10) as held:
        held.sendall(b"x" * 500_000)
        held.shutdown(socket.SHUT_WR)
        heard = b""
        while part := held.recv(1_000_000):
            heard += part
    assert len(heard) == 500_000


def test_a_refused_link_breaks_what_there_is_and_what_comes(network: Network, mine: Door, theirs: Door) -> None:
    with socket.create_connection(("127.0.0.1", theirs.port), 5) as held:
        held.sendall(b"hello")
        assert held.recv(5) == b"hello"
        network.part(mine.name, theirs.name)
        with pytest.raises(ConnectionError):
            held.recv(5)
    with pytest.raises(ConnectionError):
        _talk(theirs)
    network.heal()
    assert _talk(theirs) == b"hello"


def test_a_silent_link_goes_on_where_it_stopped(network: Network, mine: Door, theirs: Door) -> None:
    network.close_link(mine.name, theirs.name, Passage.SILENT)
    with socket.create_connection(("127.0.0.1", theirs.port), 0.3) as held:
        held.sendall(b"hello")
        with pytest.raises(TimeoutError):
            held.recv(5)
        network.heal()
        held.settimeout(5)
        assert held.recv(5) == b"hello"


def test_a_fault_is_of_one_pair_and_direction(network: Network, mine: Door, theirs: Door) -> None:
    third = network.new_door()
    network.close_link(theirs.name, mine.name)
    network.part(third.name, theirs.name)
    assert _talk(theirs) == b"hello"
    # Another process is no server of the network.
    network.isolate(mine.name)
    done = subprocess.run(
        [sys.executable, "-c", _ECHO.format(port=theirs.port)], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "hello\n"
    with pytest.raises(ConnectionError):
        _talk(theirs)


def test_data_is_delayed(network: Network, mine: Door, theirs: Door) -> None:
    network.delay(0.1, 0.12)
    began = time.monotonic()
    assert _talk(theirs) == b"hello"
    # On connecting, on the way there, and on the way back.
    assert time.monotonic() - began > 0.3
