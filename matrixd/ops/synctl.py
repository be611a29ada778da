"""`synctl start|stop|restart|status|check|queue|room`: a server in the background. Exit codes are those of the LSB."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from matrixd.config import ConfigError
from matrixd.ops import background, check, queue, room, status
from matrixd.ops.asking import Refused
from matrixd.ops.installation import Installation, NotConfigured, find
from matrixd.util.exit_codes import Action, State


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    paths = [Path(path) for path in options.config or ["homeserver.yaml"]]
    verb: Callable[[Installation, argparse.Namespace], int] = options.verb
    try:
        return verb(find(paths), options)
    except (ConfigError, NotConfigured) as error:
        print(error, file=sys.stderr)
        return State.UNKNOWN if verb is _status else Action.NOT_CONFIGURED
    except Refused as error:
        print(error, file=sys.stderr)
        return Action.FAILED
    except PermissionError as error:
        print(f"Not allowed: {error.filename or error}: {error.strerror}", file=sys.stderr)
        return State.UNKNOWN if verb is _status else Action.NO_PRIVILEGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("synctl", description="Runs matrixd in the background.")
    verbs = parser.add_subparsers(required=True, metavar="start|stop|restart|status|check|queue|room")
    for name, verb, help_text in (
        ("start", _start, "start the server; returns when it answers"),
        ("stop", _stop, "stop the server; returns when it has ended"),
        ("restart", _restart, "stop and start"),
        ("status", _status, "show each process"),
        ("queue", _queue, "show what waits for other servers, and which of them do not answer"),
    ):
        sub = verbs.add_parser(name, help=help_text, description=help_text)
        sub.set_defaults(verb=verb)
        sub.add_argument("config", nargs="*", metavar="CONFIG", help="configuration files (homeserver.yaml)")
        if verb in (_stop, _restart):
            sub.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="how long to wait (60)")
            sub.add_argument("--force", action="store_true", help="kill what has not ended by then")
        if verb is _queue:
            sub.add_argument("--json", action="store_true", help="for programs")
    check.add_to(verbs)
    room.add_to(verbs)
    return parser


def _start(installation: Installation, _options: argparse.Namespace) -> int:
    return background.start(installation)


def _stop(installation: Installation, options: argparse.Namespace) -> int:
    return background.stop(installation, options.timeout, force=options.force)


def _restart(installation: Installation, options: argparse.Namespace) -> int:
    return _stop(installation, options) or _start(installation, options)


def _status(installation: Installation, _options: argparse.Namespace) -> int:
    return status.show(installation)


def _queue(installation: Installation, options: argparse.Namespace) -> int:
    return queue.show(installation.config, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
