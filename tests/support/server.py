"""A real server process on a generated configuration, to be stopped, killed and started again."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import run
from tests.support.client import PASSWORD, MatrixClient, unique
from tests.support.database import DatabasePlace
from tests.support.openapi_files import REPOSITORY

START_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0
LOG_TAIL_CHARACTERS = 6000
REGISTER = "/_synapse/admin/v1/register"
_UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}
# Enough for tests of behaviour; tests of the limits themselves set their own.
NO_RATE_LIMITS: Mapping[str, Any] = {
    **{
        f"rc_{name}": _UNLIMITED
        for name in (
            "message",
            "admin_redaction",
            "registration",
            "registration_token_validity",
            "joins_per_room",
            "third_party_invite",
            "room_creation",
            "media_create",
            "user_directory",
            "reports",
            "3pid_validation",
        )
    },
    "rc_login": {"address": _UNLIMITED, "account": _UNLIMITED, "failed_attempts": _UNLIMITED},
    "rc_joins": {"local": _UNLIMITED, "remote": _UNLIMITED},
    "rc_invites": {"per_room": _UNLIMITED, "per_user": _UNLIMITED, "per_issuer": _UNLIMITED},
    "rc_presence": {"per_user": _UNLIMITED},
    "rc_federation": {"sleep_limit": 1_000_000, "reject_limit": 1_000_000, "concurrent": 1000},
}


@dataclass(frozen=True)
class TestUser:
    """A local account and its password."""

    __test__ = False

    user_id: str
    password: str


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def generate_configuration(directory: Path, server_name: str) -> Path:
    """``--generate-config`` in ``directory``, as the README shows it. Raises AssertionError with what it said."""
    path = directory / "homeserver.yaml"
    command = [*_python("-m", "matrixd"), "--server-name", server_name, "--config-path", str(path)]
    done = subprocess.run(
        [*command, "--generate-config", "--report-stats=no"],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=START_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, f"--generate-config failed: {done.stdout}{done.stderr}"
    return path


def environment() -> dict[str, str]:
    """The environment in which the tests start the project's programs."""
    path = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PATH": programs, "PYTHONUNBUFFERED": "1"}


class Installation:
    """A generated configuration in a directory of its own below the run's directory, and how to reach its server."""

    def __init__(
        self, database: DatabasePlace, *, options: Mapping[str, Any] | None = None, server_name: str = "test"
    ) -> None:
        """Generates the configuration; ``options`` are put over it, a None takes an option away."""
        self.directory = run.new_directory("server")
        self.server_name = server_name
        self.database = database
        self.port = free_port()
        self.config_path = self._generate()
        self.configuration: dict[str, Any] = {}
        self.configure({**self._test_options(), **(options or {})})

    @property
    def base_url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    def configure(self, options: Mapping[str, Any]) -> None:
        """Changes top-level options of the configuration file; they count from the next start on."""
        loaded = yaml.safe_load(self.config_path.read_text())
        self.configuration = {**loaded, **options}
        self.configuration = {name: value for name, value in self.configuration.items() if value is not None}
        self.config_path.write_text(yaml.safe_dump(self.configuration))

    def wait_until_it_answers(self, within_s: float = START_WITHIN_S) -> None:
        """Waits for /versions. Raises AssertionError when the process ended or the time is over."""
        deadline = time.monotonic() + within_s
        while not self._answers():
            if self._has_ended():
                raise AssertionError(f"the server ended\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the server did not answer within {within_s} s\n{self.log_tail()}")
            time.sleep(0.02)

    def log_tail(self) -> str:
        """The end of what it printed and logged."""
        parts = [
            f"---- {file.name}\n{file.read_text(errors='replace')[-LOG_TAIL_CHARACTERS:]}"
            for file in sorted(self.directory.iterdir())
            if file.suffix in (".log", ".out")
        ]
        return "\n".join(parts)

    def client(self, timeout: float = 30.0) -> MatrixClient:
        """An anonymous client."""
        return MatrixClient(self.base_url, timeout=timeout)

    def make_user(self, name: str | None = None, password: str = PASSWORD, *, admin: bool = False) -> TestUser:
        """Makes an account through the shared-secret registration of the admin API."""
        client = self.client()
        nonce = client.get(REGISTER, documented=False)["nonce"]
        username = name or unique("user")
        fields = [nonce, username, password, "admin" if admin else "notadmin"]
        secret = str(self.configuration["registration_shared_secret"])
        mac = hmac.new(secret.encode(), "\0".join(fields).encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": username, "password": password, "admin": admin, "mac": mac}
        answer = client.post(REGISTER, body, documented=False)
        client.close()
        return TestUser(answer["user_id"], password)

    def new_client(self, name: str | None = None, *, admin: bool = False) -> MatrixClient:
        """A signed-in client of a new account."""
        user = self.make_user(name, admin=admin)
        client = self.client()
        client.login(user.user_id, user.password)
        return client

    def _generate(self) -> Path:
        return generate_configuration(self.directory, self.server_name)

    def _has_ended(self) -> bool:
        return False

    def _test_options(self) -> dict[str, Any]:
        return {
            **NO_RATE_LIMITS,
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": False,
                    "x_forwarded": False,
                    "resources": [{"names": ["client", "federation"]}],
                }
            ],
            "public_baseurl": self.base_url,
            # The tests speak to nobody outside.
            "trusted_key_servers": [],
            "pid_file": str(self.directory / "matrixd.pid"),
            "database": {"name": self.database.name, "args": self.database.args},
            "media_store_path": str(self.directory / "media"),
            "enable_registration": True,
            "enable_registration_without_verification": True,
            # The cheapest hash there is: tests sign in hundreds of times, and none depends on its cost.
            "bcrypt_rounds": 4,
        }

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/_matrix/client/versions")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class ServerProcess(Installation):
    """The server as a child of the test, in the foreground as it is run under systemd or in a container."""

    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's ID. Raises AssertionError when it does not run."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, within_s: float = START_WITHIN_S) -> ServerProcess:
        """Starts the process and returns when it answers. Raises AssertionError with the end of its log."""
        self.launch()
        try:
            self.wait_until_it_answers(within_s)
        except AssertionError:
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Starts the process without waiting for anything."""
        assert not self.is_running, "the server is running already"
        with (self.directory / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, within_s: float = STOP_WITHIN_S) -> int:
        """Waits for the process to end by itself, and returns its exit status. Raises AssertionError if it stays."""
        assert self._process is not None, "the server was not started"
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end within {within_s} s\n{self.log_tail()}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = STOP_WITHIN_S) -> int:
        """Ends the process as an administrator does, and returns its exit status. Raises AssertionError if it stays."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self.wait(within_s)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """SIGTERM and a new start on the same port."""
        self.stop()
        self.start()

    def _command(self) -> list[str]:
        return [*_python("-m", "matrixd"), "-c", str(self.config_path)]

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
