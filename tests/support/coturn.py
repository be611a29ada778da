"""A TURN server on loopback: Debian's coturn."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.support import run
from tests.support.authority import Certificate
from tests.support.server import free_port

START_WITHIN_S = 20.0
REALM = "turn.test"


class CoturnMissing(Exception):
    """coturn is not on this machine; the text says what to install."""


def program() -> Path:
    """Where turnserver is: MATRIXD_TURNSERVER, or PATH."""
    found = os.environ.get("MATRIXD_TURNSERVER") or shutil.which("turnserver")
    if found is None:
        raise CoturnMissing(
            "the tests need a TURN server, and there is none: install Debian's package 'coturn' "
            "(as root: apt-get install coturn), or set MATRIXD_TURNSERVER to its program 'turnserver'"
        )
    return Path(found)


class Coturn:
    """A running server; `secret` makes its credentials. Ends with `stop`."""

    def __init__(self, *options: str, certificate: Certificate | None = None, secret: str = "the test's") -> None:
        """Starts it. Raises CoturnMissing, and AssertionError with its log."""
        self.secret = secret
        self.directory = run.new_directory("coturn")
        self.port, self.tls_port, first = free_port(), free_port(), 49152 + free_port() % 10_000
        tls = ["--no-tls"]
        if certificate is not None:
            tls = ["--cert", str(certificate.chain), "--pkey", str(certificate.key)]
        authentication = options or ("--use-auth-secret", "--static-auth-secret", secret)
        self._log = self.directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(program()), "-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--realm", REALM,
                    "--listening-port", str(self.port), "--tls-listening-port", str(self.tls_port), *tls,
                    "--min-port", str(first), "--max-port", str(first + 100), "--no-dtls", "--no-cli",
                    "--pidfile", str(self.directory / "pid"), "--userdb", str(self.directory / "users"),
                    "--log-file", "stdout", *authentication,
                ],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._wait()

    def stop(self) -> None:
        """Ends it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                said = self._log.read_text(errors="replace")[-3000:]
                assert self._process.poll() is None, f"coturn ended: {said}"
                assert time.monotonic() < deadline, f"coturn does not answer: {said}"
                time.sleep(0.05)
