"""Starting and stopping the homeservers that are compared."""

import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.databases import Database
from bench.http_client import Connection, ConnectionLost, encode_request
from bench.postgres import free_port
from bench.processes import ProcessTree

START_LIMIT = 60.0
STOP_LIMIT = 30.0

_UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}


class StartFailed(Exception):
    """The server ended, or did not answer in time; the message ends with the last of its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """A homeserver's name here, and the command that runs it (without its `-c FILE`)."""

    name: str
    command: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Federation:
    """What a server needs to be reached by others on loopback: its port, and PEM files."""

    port: int
    certificate: Path
    key: Path
    #: Whose certificates it trusts.
    authority: Path


class Server:
    """One homeserver with its folder and database. With `federation` it speaks to others, under TLS."""

    def __init__(
        self, program: Program, directory: Path, database: Database, federation: Federation | None = None
    ) -> None:
        self.program = program
        self.database = database
        self.port = free_port()
        self.server_name = "localhost" if federation is None else f"localhost:{federation.port}"
        self._federation = federation
        self.registration_secret = secrets.token_hex(16)
        self._directory = directory
        self._log = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        self._config = self._write_config()

    async def start(self) -> float:
        """Starts it; returns the seconds until the first answer to a client."""
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.program.command, "-c", str(self._config)], cwd=self._directory, stdout=log, stderr=log
            )
        connection = Connection(self.port)
        try:
            while not await _answers(connection):
                if self._process.poll() is not None or time.perf_counter() - began > START_LIMIT:
                    raise StartFailed(f"{self.program.name} did not start:\n{self.end_of_log()}")
                await asyncio.sleep(0.005)
        finally:
            connection.close()
        return time.perf_counter() - began

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def processes(self) -> ProcessTree:
        assert self._process is not None, "the server does not run"
        return ProcessTree(self._process.pid)

    def end_of_log(self) -> str:
        return self._log.read_bytes()[-3000:].decode(errors="replace")

    def _write_config(self) -> Path:
        # JSON is YAML too
        log_config = self._directory / "log.yaml"
        log_config.write_text(json.dumps(_LOG_CONFIG))
        seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
        key = self._directory / "signing.key"
        key.touch(mode=0o600)
        key.write_text(f"ed25519 a_bench {seed}\n")
        file = self._directory / "homeserver.yaml"
        file.write_text(json.dumps(self._options(), indent=1))
        return file

    def _options(self) -> Mapping[str, object]:
        listeners = [_listener(self.port, "client", tls=False)]
        if self._federation is not None:
            listeners.append(_listener(self._federation.port, "federation", tls=True))
        return {
            "server_name": self.server_name,
            "report_stats": False,
            "pid_file": str(self._directory / "homeserver.pid"),
            "listeners": listeners,
            "database": self.database.config(),
            "log_config": str(self._directory / "log.yaml"),
            "media_store_path": str(self._directory / "media"),
            "signing_key_path": str(self._directory / "signing.key"),
            "trusted_key_servers": [],
            "registration_shared_secret": self.registration_secret,
            # the cheapest that bcrypt knows: how dear a password is to hash is not the question here
            "bcrypt_rounds": 4,
            **_RATE_LIMITS,
            **({} if self._federation is None else _federation_options(self._federation)),
        }


def _listener(port: int, resource: str, *, tls: bool) -> Mapping[str, object]:
    return {
        "type": "http",
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "tls": tls,
        "resources": [{"names": [resource]}],
    }


def _federation_options(federation: Federation) -> Mapping[str, object]:
    return {
        "tls_certificate_path": str(federation.certificate),
        "tls_private_key_path": str(federation.key),
        "federation_custom_ca_list": [str(federation.authority)],
        # other servers are on loopback
        "ip_range_blacklist": [],
        # presence between servers is its own work
        "presence": {"enabled": False},
    }


_LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}

_RATE_LIMITS = {
    "rc_message": _UNLIMITED,
    "rc_registration": _UNLIMITED,
    "rc_login": {"address": _UNLIMITED, "account": _UNLIMITED, "failed_attempts": _UNLIMITED},
    "rc_joins": {"local": _UNLIMITED, "remote": _UNLIMITED},
    "rc_joins_per_room": _UNLIMITED,
    "rc_invites": {"per_room": _UNLIMITED, "per_user": _UNLIMITED, "per_issuer": _UNLIMITED},
    "rc_room_creation": _UNLIMITED,
    "rc_presence": {"per_user": _UNLIMITED},
    "rc_federation": {
        "window_size": 1000, "sleep_limit": 1_000_000, "sleep_delay": 1, "reject_limit": 1_000_000, "concurrent": 100,
    },
}


async def _answers(connection: Connection) -> bool:
    try:
        answer = await connection.send(encode_request("GET", "/_matrix/client/versions"))
    except (OSError, ConnectionLost):
        return False
    return answer.status == 200
