"""Processes beside the master. They are read and checked; this release does not start them yet."""

from dataclasses import dataclass
from typing import Literal

from matrixd.config import listeners
from matrixd.config.listeners import Listener
from matrixd.config.options import Options
from matrixd.config.values import choice, section

WorkerKind = Literal["sync", "federation_sender", "media"]


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """One worker process."""

    name: str
    kind: WorkerKind
    listeners: tuple[Listener, ...]


def read(options: Options) -> tuple[WorkerConfig, ...]:
    """Reads `workers`, a section that has each worker's name as key."""
    entries = options.section("workers")
    names = options.read("workers", section, {})
    return tuple(_worker(name, entries.section(name)) for name in names)


def _worker(name: str, options: Options) -> WorkerConfig:
    cure = "Write one of: sync, federation_sender, media."
    kind: WorkerKind = options.required("type", choice("sync", "federation_sender", "media"), "sync", cure)
    served = listeners.read(options) if options.value("listeners") else ()
    return WorkerConfig(name, kind, served)
