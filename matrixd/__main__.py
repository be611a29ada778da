"""`python -m matrixd`: runs the master in the foreground, or writes a first configuration."""

import argparse
import contextlib
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from matrixd import __version__
from matrixd.config import Config, ConfigError, load
from matrixd.config.generate import NewServer, generate, write_signing_key
from matrixd.config.server_name import refusal
from matrixd.util import garbage, logs, pid_file, status_file
from matrixd.util.exit_codes import Exit

log = logging.getLogger("matrixd")

MOST_OPEN_FILES = 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code: 0, 1, 2 for wrong arguments, 78 for a wrong configuration."""
    parser = _parser()
    options = parser.parse_args(arguments)
    paths = [Path(path) for path in options.config_path]
    if options.generate_config:
        return _generate_config(parser, options, paths)
    if not paths:
        parser.error("name the configuration: -c homeserver.yaml")
    if options.generate_keys:
        return _generate_keys(paths)
    return _run(paths)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("matrixd", description="A Matrix homeserver.")
    add = parser.add_argument
    add("-c", "--config-path", action="append", default=[], metavar="FILE", help="configuration; several are merged")
    add("-H", "--server-name", metavar="NAME", help="the server's name, for --generate-config")
    add("--generate-config", action="store_true", help="write a new configuration with keys and secrets, and end")
    add("--generate-keys", action="store_true", help="write the signing key that the configuration names, and end")
    add("--report-stats", choices=("yes", "no"), default="no", help="taken for Synapse's sake; nothing is reported")
    add("--config-directory", metavar="DIR", help="where keys and log configuration go (beside the configuration)")
    add("--data-directory", metavar="DIR", help="where database and media go (beside the configuration)")
    add("--version", action="version", version=f"matrixd {__version__}")
    return parser


def _generate_config(parser: argparse.ArgumentParser, options: argparse.Namespace, paths: list[Path]) -> int:
    if len(paths) != 1 or not options.server_name:
        parser.error("--generate-config needs --server-name NAME and one --config-path FILE")
    reason = refusal(options.server_name)
    if reason:
        parser.error(f"--server-name: {options.server_name!r} {reason}")
    path = paths[0].absolute()
    beside = Path(options.config_directory).absolute() if options.config_directory else path.parent
    data = Path(options.data_directory).absolute() if options.data_directory else path.parent
    try:
        written = generate(NewServer(options.server_name, path, data, beside, options.report_stats == "yes"))
    except FileExistsError:
        print(f"{path} is there already and was left as it is. Move it away to begin anew.", file=sys.stderr)
        return Exit.FAILED
    except OSError as error:
        print(f"Cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return Exit.FAILED
    print("\n".join(f"Written: {file}" for file in written))
    print(
        f"\nThe server's name is {options.server_name}, for ever: it becomes part of every user ID and event, and"
        "\ncannot change once the server has run. If it is not the name you want, remove these files and begin again."
    )
    return Exit.OK


def _generate_keys(paths: list[Path]) -> int:
    config = _load(paths, read_files=False)
    if config is None:
        return Exit.CONFIG
    path = config.keys.signing_key_path
    try:
        made = write_signing_key(path)
    except OSError as error:
        print(f"Cannot write {path}: {error.strerror}", file=sys.stderr)
        return Exit.FAILED
    print(f"Written: {path}" if made else f"{path} is there already and was left as it is.")
    return Exit.OK


def _load(paths: list[Path], *, read_files: bool = True) -> Config | None:
    try:
        return load(paths, read_files=read_files)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None


def _run(paths: list[Path]) -> int:
    garbage.pause()
    config = _load(paths)
    if config is None:
        return Exit.CONFIG
    os.umask(os.umask(0o077) | 0o027)  # database, log and media are nobody else's business
    _raise_file_limit(config.server.soft_file_limit)
    try:
        logs.start(config.logging.dict_config)
    except (ValueError, OSError) as error:
        print(f"{config.logging.file}: the log cannot be started: {_with_cause(error)}", file=sys.stderr)
        return Exit.CONFIG
    for warning in config.warnings:
        log.warning("%s", warning)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Until the master runs, which has more to bring to an end.
        signal.signal(number, _end_at_once)
    try:
        with _pid_file(config.server.pid_file):
            from matrixd.master.main import run

            return run(config)
    except pid_file.AlreadyRunning as error:
        print(f"matrixd is not started: {error}.", file=sys.stderr)
        return Exit.FAILED
    except OSError as error:
        if error.filename != str(config.server.pid_file):
            raise
        print(f"Cannot write pid_file {error.filename}: {error.strerror}", file=sys.stderr)
        return Exit.FAILED


def _end_at_once(*_: object) -> None:
    raise SystemExit(Exit.OK)


def _raise_file_limit(wanted: int) -> None:
    """Every connection takes an open file. 0: as many as may be had, within reason."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted or most, most), hard))


def _with_cause(error: Exception) -> str:
    return f"{error}: {error.__cause__}" if error.__cause__ else str(error)


@contextlib.contextmanager
def _pid_file(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    pid_file.claim(path, "matrixd")
    try:
        yield
    finally:
        status_file.beside(path).unlink(missing_ok=True)
        pid_file.release(path)


if __name__ == "__main__":
    sys.exit(main())
