"""What an admin's command is about: the configuration files, the pid file, the place of the output."""

from dataclasses import dataclass
from pathlib import Path

from matrixd.config import Config, load

PROGRAM = "matrixd"


@dataclass(frozen=True, slots=True)
class Installation:
    """One server on this machine."""

    paths: tuple[Path, ...]
    """The configuration files, as the admin named them."""
    config: Config
    pid_file: Path

    @property
    def output_file(self) -> Path:
        """Where a server in the background writes what it prints."""
        return self.pid_file.with_suffix(".out")


class NotConfigured(Exception):
    """The configuration lacks something that the command needs; the text says what."""


def find(paths: list[Path]) -> Installation:
    """The installation of these files. Raises ConfigError and NotConfigured.

    Keys and certificates are not read: a look at the status needs no access to them.
    """
    for path in paths:
        if not path.exists():
            raise NotConfigured(f"{path} is not there. Name the configuration: synctl VERB homeserver.yaml")
    config = load(paths, read_files=False)
    if config.server.pid_file is None:
        raise NotConfigured(f"{paths[0]} has no `pid_file`. Add for example: pid_file: homeserver.pid")
    return Installation(tuple(paths), config, config.server.pid_file)
