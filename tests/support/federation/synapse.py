"""Synapse from PyPI as another server of the network, on SQLite, set up from its public documentation."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import signedjson.key

from bench.programs import synapse_environment
from tests.support.client import MatrixClient
from tests.support.database import fresh
from tests.support.federation.authority import Authority
from tests.support.federation.network import Network
from tests.support.federation.servers import FederatedServer

PYTHON_VARIABLE = "MATRIXD_SYNAPSE_PYTHON"


def synapse_python() -> str:
    """The Python that has Synapse: the variable's, or one of an environment that is made when it is first needed.

    Raises bench.programs.InstallFailed.
    """
    return os.environ.get(PYTHON_VARIABLE) or str(synapse_environment())


class UncheckedClient(MatrixClient):
    """Does not compare with the specification: that Synapse keeps to it is not what is tested."""

    def request(self, method: str, path: str, **options: Any) -> Any:
        """As `MatrixClient.request`, without the checks."""
        return super().request(method, path, **{**options, "validate": False, "check_answer": False})


class SynapseServer(FederatedServer):
    """A Synapse, run by ``python``."""

    program = "synapse"

    def __init__(
        self,
        network: Network,
        authority: Authority,
        python: str,
        *,
        options: Mapping[str, Any] | None = None,
        host: str = "localhost",
    ) -> None:
        self._python = python
        super().__init__(fresh("sqlite3", migrated=False), network, authority, options=options, host=host)

    def client(self, timeout: float = 30.0) -> MatrixClient:
        """An anonymous client."""
        return UncheckedClient(self.base_url, timeout=timeout)

    def federation_options(self) -> dict[str, Any]:
        """As for matrixd, and Synapse's own names for not waiting."""
        options = super().federation_options()
        retries = {
            "max_short_retries": 1, "max_short_retry_delay": "1s", "max_long_retries": 2, "max_long_retry_delay": "1s",
        }  # fmt: skip
        return {**options, "federation": {**options["federation"], **retries}}

    def _generate(self) -> Path:
        path = self.directory / "homeserver.yaml"
        key = self.directory / "signing.key"
        with key.open("w") as out:
            signedjson.key.write_signing_keys(out, [signedjson.key.generate_signing_key("a_first")])
        log = self.directory / "log.yaml"
        log.write_text(json.dumps(_log_config(self.directory / "homeserver.log")))
        # JSON is YAML too.
        path.write_text(
            json.dumps(
                {
                    "server_name": self.server_name,
                    "report_stats": False,
                    "log_config": str(log),
                    "signing_key_path": str(key),
                    "registration_shared_secret": secrets.token_hex(16),
                    "macaroon_secret_key": secrets.token_hex(16),
                    "form_secret": secrets.token_hex(16),
                    "presence": {"enabled": False},
                    "room_list_publication_rules": [{"action": "allow"}],
                }
            )
        )
        return path

    def _command(self) -> list[str]:
        return [self._python, "-m", "synapse.app.homeserver", "-c", str(self.config_path)]


def _log_config(file: Path) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(file), "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["file"]},
    }
