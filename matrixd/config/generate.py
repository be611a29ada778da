"""Writing a first configuration: a commented homeserver.yaml, a log configuration, a signing key and secrets."""

import json
import os
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import signedjson.key
from jinja2 import Environment, PackageLoader, StrictUndefined

from matrixd.core.versions import DEFAULT_ROOM_VERSION

DEFAULT_PORT = 8008
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*", re.ASCII)
_YAML_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


@dataclass(frozen=True, slots=True)
class NewServer:
    """What a new configuration is made from."""

    server_name: str
    config_path: Path
    """The homeserver.yaml to write."""
    data_directory: Path
    """Where database, media, logs and pid file will be."""
    config_directory: Path
    """Where signing key and log configuration are written."""
    report_stats: bool = False
    port: int = DEFAULT_PORT

    @property
    def log_config(self) -> Path:
        return self.config_directory / f"{self.server_name}.log.config"

    @property
    def signing_key(self) -> Path:
        return self.config_directory / f"{self.server_name}.signing.key"


def generate(server: NewServer, random: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> list[Path]:
    """Writes what is missing and returns it. Raises FileExistsError if there is a homeserver.yaml already.

    A signing key or log configuration that is there stays as it is. `random` makes the secret.
    """
    server.data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)  # first: it may be the others' too
    for directory in (server.config_path.parent, server.config_directory):
        directory.mkdir(parents=True, exist_ok=True)
    if server.config_path.exists():
        raise FileExistsError(server.config_path)
    written = []
    if write_signing_key(server.signing_key):
        written.append(server.signing_key)
    if write_new(server.log_config, log_config(server), 0o644):
        written.append(server.log_config)
    if not write_new(server.config_path, homeserver_yaml(server, random()), 0o600):
        raise FileExistsError(server.config_path)
    return [server.config_path, *written]


def homeserver_yaml(server: NewServer, registration_shared_secret: str) -> str:
    """The text of a homeserver.yaml."""
    is_local = server.server_name in ("localhost", f"localhost:{server.port}")
    return _render(
        "homeserver.yaml.j2",
        server,
        server_name=server.server_name,
        public_baseurl=f"http://localhost:{server.port}/" if is_local else None,
        port=server.port,
        registration_shared_secret=registration_shared_secret,
        report_stats=server.report_stats,
        default_room_version=DEFAULT_ROOM_VERSION,
        files={"log_config": str(server.log_config), "signing_key": str(server.signing_key)},
    )


def log_config(server: NewServer) -> str:
    """The text of a log configuration."""
    return _render("log.config.j2", server)


def write_signing_key(path: Path) -> bool:
    """Makes a signing key file with mode 0600; False if the file is there already. Raises OSError."""
    return write_new(path, signing_key_line(), 0o600)


def signing_key_line() -> str:
    """A new signing key as its file has it: `ed25519 a_XXXX SEED`."""
    key = signedjson.key.generate_signing_key("a_" + "".join(secrets.choice(string.ascii_letters) for _ in range(4)))
    return f"{key.alg} {key.version} {signedjson.key.encode_signing_key_base64(key)}\n"


def write_new(path: Path, text: str, mode: int) -> bool:
    """Writes a file that must not exist yet; False if it does. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def _render(template: str, server: NewServer, **names: Any) -> str:
    environment = Environment(
        loader=PackageLoader("matrixd.config"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["yaml"] = _yaml_scalar
    data = {
        "pid_file": str(server.data_directory / "homeserver.pid"),
        "database": str(server.data_directory / "homeserver.db"),
        "media_store": str(server.data_directory / "media_store"),
        "log": str(server.data_directory / "homeserver.log"),
    }
    return environment.get_template(template).render(data=data, **names)


def _yaml_scalar(text: str) -> str:
    """Text as YAML reads it back: bare where that is safe, else in double quotes, whose escapes are those of JSON."""
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if is_plain else json.dumps(text, ensure_ascii=False)
