"""`synctl check [SERVER]`: what another server would see of ours, or what ours sees of another; with cures."""

import argparse
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from matrixd.config import Config, ConfigError, load
from matrixd.core.identifiers import is_server_name
from matrixd.master.check import build_check
from matrixd.net.check.report import Report, Result, Section, State
from matrixd.ops.asking import Refused
from matrixd.ops.installation import Installation
from matrixd.util.clock import SystemClock
from matrixd.util.exit_codes import Action

T = TypeVar("T")

_SIGNS = {State.OK: "ok", State.WARNING: "WARNING", State.FAILURE: "FAILURE", State.SKIPPED: "-"}
_MAX_WIDTH = 110
_INDENT = 10


def add_to(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Adds the verb to `synctl`."""
    text = "look at this server as other servers do, or at another one; tell what is wrong and how to cure it"
    check = verbs.add_parser("check", help=text, description=text)
    check.add_argument("server", nargs="?", metavar="SERVER", help="another server's name (our own)")
    check.add_argument("-c", "--config", action="append", metavar="FILE", help="configuration (homeserver.yaml)")
    check.add_argument("--json", action="store_true", help="for programs")
    check.set_defaults(verb=_check)


def _check(installation: Installation, options: argparse.Namespace) -> int:
    if options.server is not None and not is_server_name(options.server):
        raise Refused(f"{options.server} is not a server name: write what stands behind the colon of a user ID.")
    config, given = _configuration(installation)
    if not options.json:
        name = options.server or config.server.server_name
        print(f"Looking at {name}; this takes up to a minute …", file=sys.stderr, flush=True)
    try:
        report = _run(lambda reactor: build_check(config, reactor, SystemClock(), options.server, given).run())
    except ValueError as error:
        raise Refused(str(error)) from None
    print(json.dumps(report.as_json(), indent=2) if options.json else "\n".join(lines(report, _width())))
    return Action.FAILED if report.state is State.FAILURE else Action.OK


def _configuration(installation: Installation) -> tuple[Config, list[Result]]:
    """The configuration with keys, and what is to be said of it."""
    subject = ", ".join(str(path) for path in installation.paths)
    try:
        config = load(installation.paths)
    except ConfigError as error:
        text = f"The server would not start with this configuration: {error}"
        cure = "Correct it. If only this command may not read the files: run it as the user that the server runs as."
        return installation.config, [Result(Section.SERVER, "configuration", subject, State.FAILURE, text, cure)]
    text = "The configuration can be read, and nothing in it is wrong."
    return config, [Result(Section.SERVER, "configuration", subject, State.OK, text)]


def _run(start: Callable[[Any], Coroutine["Deferred[Any]", Any, T]]) -> T:
    """The result of a coroutine, in a reactor of its own."""
    make: Any = EPollReactor
    reactor = make()
    found: list[T | Failure] = []

    def begin() -> None:
        async def work() -> T:
            return await start(reactor)

        Deferred.fromCoroutine(work()).addBoth(found.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if not found:
        raise Refused("Interrupted.")
    result = found[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


def lines(report: Report, width: int) -> Iterator[str]:
    """The report for people."""
    for section in Section:
        results = [result for result in report.results if result.section is section]
        if results:
            yield f"\n{section.value}"
        for result in results:
            yield from _lines(result, width)
    counts = {state: report.count(state) for state in State}
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report.started_ts / 1000))
    yield ""
    yield (
        f"{report.server_name}: {_many(counts[State.FAILURE], 'failure')}, {_many(counts[State.WARNING], 'warning')}, "
        f"{counts[State.OK]} ok. Checked {at}, in {report.took_ms / 1000:.1f} s."
    )


def _lines(result: Result, width: int) -> Iterator[str]:
    yield from _wrapped(f"  {_SIGNS[result.state]:<{_INDENT - 2}}", f"{result.subject}: {result.text}", width)
    if result.cure is not None:
        yield from _wrapped(" " * _INDENT + "=> ", result.cure, width)


def _wrapped(first: str, text: str, width: int) -> Sequence[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False,
        break_on_hyphens=False,
    ) or [first]  # fmt: skip


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _width() -> int:
    return max(40, min(_MAX_WIDTH, shutil.get_terminal_size((_MAX_WIDTH, 24)).columns))
