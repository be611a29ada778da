"""The one YAML file (or several, merged) becomes the frozen, typed Config. Nothing else in matrixd reads YAML."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from matrixd.config import (
    accounts,
    appservices,
    database,
    federation,
    keys,
    listeners,
    logs,
    media,
    memory,
    not_yet,
    ratelimits,
    rooms,
    server,
    tls,
    workers,
)
from matrixd.config.accounts import PasswordsConfig, RegistrationConfig, SessionsConfig
from matrixd.config.appservices import Appservice
from matrixd.config.database import DatabaseConfig
from matrixd.config.faults import ConfigError, Findings, Place
from matrixd.config.federation import FederationConfig
from matrixd.config.keys import KeysConfig
from matrixd.config.listeners import Listener
from matrixd.config.logs import LoggingConfig
from matrixd.config.media import MediaConfig, TurnConfig
from matrixd.config.memory import MemoryConfig
from matrixd.config.options import Options
from matrixd.config.ratelimits import RateLimitsConfig
from matrixd.config.rooms import PresenceConfig, ProfilesConfig, RoomsConfig
from matrixd.config.server import ServerConfig
from matrixd.config.synapse_options import SYNAPSE_ONLY
from matrixd.config.tls import TlsConfig
from matrixd.config.workers import WorkerConfig
from matrixd.config.yaml_tree import Value, merge, read_yaml


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the configuration says. Secrets are left out of the repr."""

    server: ServerConfig
    listeners: tuple[Listener, ...]
    tls: TlsConfig
    database: DatabaseConfig
    logging: LoggingConfig
    keys: KeysConfig
    registration: RegistrationConfig
    passwords: PasswordsConfig
    sessions: SessionsConfig
    ratelimits: RateLimitsConfig
    rooms: RoomsConfig
    profiles: ProfilesConfig
    presence: PresenceConfig
    media: MediaConfig
    turn: TurnConfig
    federation: FederationConfig
    appservices: tuple[Appservice, ...]
    memory: MemoryConfig
    workers: tuple[WorkerConfig, ...]
    paths: tuple[Path, ...]
    """The files that were read, in the order of merging."""
    warnings: tuple[str, ...] = field(default=())
    """Sentences for the log that do not stop the start: unknown options and the like."""


def load(paths: Iterable[Path], *, read_files: bool = True, now: datetime | None = None) -> Config:
    """Reads and checks the configuration.

    `paths`: files, or directories whose `*.yaml` are taken in the order of their names; an option of a later file
    replaces that of an earlier one. `read_files=False` is for tools that may not read keys and certificates: these
    are then neither read nor checked. `now` is what certificates' ends are compared with.
    Raises ConfigError with everything that is wrong.
    """
    findings = Findings(read_files=read_files)
    files = _files(paths, findings)
    trees = [tree for file in files if (tree := read_yaml(file, findings))]
    options = _top_level(findings, trees, files)
    if len(trees) < len(files):
        raise ConfigError(findings.faults)
    config = _read(options, files, now or datetime.now(UTC))
    if findings.faults:
        raise ConfigError(findings.faults)
    return config


def known_options() -> frozenset[str]:
    """The full names of all options, `[]` for places in a list."""
    options = Options(Findings(read_files=False), {}, None)
    _read(options, (), datetime.now(UTC))
    return options.known()


def _top_level(findings: Findings, trees: Sequence[Value], files: Sequence[Path]) -> Options:
    return Options(findings, merge(trees), Place(files[0], 1) if files else None)


def _read(options: Options, files: Sequence[Path], now: datetime) -> Config:
    directory = files[0].absolute().parent if files else Path.cwd()
    served = listeners.read(options)
    who = server.read(options)
    config = Config(
        server=who,
        listeners=served,
        tls=tls.read(options, served, now),
        database=database.read(options, directory),
        logging=logs.read(options),
        keys=keys.read(options, who.server_name, directory),
        registration=accounts.read_registration(options),
        passwords=accounts.read_passwords(options),
        sessions=accounts.read_sessions(options),
        ratelimits=ratelimits.read(options),
        rooms=rooms.read_rooms(options),
        profiles=rooms.read_profiles(options),
        presence=rooms.read_presence(options),
        media=media.read_media(options, directory),
        turn=media.read_turn(options),
        federation=federation.read(options),
        appservices=appservices.read(options),
        memory=memory.read(options),
        workers=workers.read(options),
        paths=tuple(files),
        warnings=(),
    )
    options.finish(SYNAPSE_ONLY)
    not_yet.warn(options)
    return _with_warnings(config, options.findings)


def _with_warnings(config: Config, findings: Findings) -> Config:
    warnings = list(findings.warnings)
    if findings.unknown:
        warnings.append("Unknown options, which change nothing: " + "; ".join(findings.unknown))
    if findings.unsupported:
        names = ", ".join(findings.unsupported)
        warnings.append(f"Options known from Synapse; matrixd has no such option, they change nothing: {names}")
    return replace(config, warnings=tuple(warnings))


def _files(paths: Iterable[Path], findings: Findings) -> tuple[Path, ...]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(path.glob("*.yaml"))
            if not found:
                findings.fault(Place(path, 1), "", "is a directory without *.yaml files.", "Name a file.")
            files += found
        else:
            files.append(path)
    return tuple(files)
