"""What is logged, and where to."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrixd.config.options import Options
from matrixd.config.values import path
from matrixd.config.yaml_tree import read_yaml

TO_STANDARD_ERROR: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
}


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """The log."""

    dict_config: dict[str, Any]
    """What `logging.config.dictConfig` gets: the file named by `log_config`, or INFO and above to standard error."""
    file: Path | None
    """The file that it was read from; None for the default."""


def read(options: Options) -> LoggingConfig:
    """Reads `log_config` and the file that it names. Relative file names in it count from its own directory."""
    file = options.read("log_config", path, None)
    if file is None or not options.findings.read_files:
        return LoggingConfig(copy.deepcopy(TO_STANDARD_ERROR), file)
    tree = read_yaml(file, options.findings)
    dict_config = tree.plain() if tree else {}
    if tree and dict_config.get("version") != 1:
        options.findings.fault(tree.place, "version", "is not 1.", "Write `version: 1` at the top of the file.")
    _absolute_files(dict_config, file.parent)
    return LoggingConfig(dict_config, file)


def _absolute_files(dict_config: dict[str, Any], directory: Path) -> None:
    handlers = dict_config.get("handlers")
    for handler in handlers.values() if isinstance(handlers, dict) else ():
        if isinstance(handler, dict) and isinstance(handler.get("filename"), str):
            handler["filename"] = str(directory / handler["filename"])
