"""The command: starts the servers on each engine, runs the scenarios on all of them in turn, reports."""

import argparse
import asyncio
import contextlib
import dataclasses
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench import programs
from bench.databases import ENGINES
from bench.report import Report, Result
from bench.scale import FULL, QUICK
from bench.scenarios import SCENARIOS
from bench.servers import Program, StartFailed
from bench.site import Site
from bench.subject import Subject

SCENARIO_LIMIT = 1800.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a scenario could not be run."""
    options = _parser().parse_args(arguments)
    scale = QUICK if options.quick else FULL
    scale = dataclasses.replace(scale, rooms=options.rooms or scale.rooms)
    servers = options.servers or (["matrixd"] if options.quick else list(programs.SERVERS))
    chosen = [name for name in SCENARIOS if not options.only or name in options.only]
    compared = [_program(name, options) for name in servers]
    report = Report({program.name: program.version for program in compared}, scale)
    with contextlib.suppress(KeyboardInterrupt):  # what has been measured by then is reported
        for engine in options.engines:
            with tempfile.TemporaryDirectory(prefix="matrixd-bench-", dir=options.work_dir) as directory:
                # where the run's user is root, PostgreSQL's own user has to reach its folder in here
                Path(directory).chmod(0o711)
                asyncio.run(_run_engine(engine, Path(directory), compared, chosen, report, options))
    file = report.write_json(programs.BENCH / "results")
    print(report.table())
    print(f"\n{', '.join(f'{name} {version}' for name, version in report.versions.items())}; all samples in {file}")
    return 1 if any(result.error for result in report.results) else 0


async def _run_engine(
    engine: str,
    directory: Path,
    compared: list[Program],
    chosen: list[str],
    report: Report,
    options: argparse.Namespace,
) -> None:
    with contextlib.ExitStack() as stack:
        python = programs.matrixd_python(options.matrixd_python)
        site = Site(engine, directory, stack, python, options.keep_logs)
        subjects = []
        for program in compared:
            server = site.server(program, program.name)
            try:
                _progress(f"{engine} {program.name}: first start {await server.start():.1f} s")
            except StartFailed as failure:
                _progress(str(failure))
                report.results.append(Result(engine, program.name, "first start", [], 0, "did not start"))
                continue
            subjects.append(Subject(server, report.scale, site))
        for scenario in chosen:
            for subject in subjects:
                report.results.append(await _run_scenario(engine, scenario, subject))


async def _run_scenario(engine: str, scenario: str, subject: Subject) -> Result:
    began = time.perf_counter()
    result = Result(engine, subject.server.program.name, scenario, [], 0)
    try:
        result.figures = await asyncio.wait_for(SCENARIOS[scenario](subject), SCENARIO_LIMIT)
    except Exception as failure:
        # the other scenarios and servers still have their say
        result.error = "; ".join(str(each) or repr(each) for each in _leaves(failure))[:300]
        traceback.print_exc()
        _progress(f"end of the server's log:\n{subject.server.end_of_log()}")
        with contextlib.suppress(StartFailed):  # then the next scenario fails, and says so
            await subject.restart()
    result.seconds = time.perf_counter() - began
    _progress(f"{engine} {result.server} {scenario}: {result.seconds:.1f} s{' FAILED' if result.error else ''}")
    return result


def _leaves(failure: BaseException) -> list[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for each in failure.exceptions[:1] for leaf in _leaves(each)]
    return [failure]


def _program(name: str, options: argparse.Namespace) -> Program:
    if name == "matrixd":
        return programs.matrixd(options.matrixd_python)
    return programs.synapse(options.synapse_python)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts; matrixd alone unless --servers says more")
    parser.add_argument("--only", type=_names_of(SCENARIOS), help=f"scenarios, of {','.join(SCENARIOS)}")
    parser.add_argument("--servers", type=_names_of(programs.SERVERS), help="default: matrixd,synapse")
    parser.add_argument("--engines", type=_names_of(ENGINES), default=list(ENGINES), help="default: sqlite3,psycopg2")
    parser.add_argument("--rooms", type=int, help=f"of the initial sync (default: {FULL.rooms})")
    parser.add_argument("--matrixd-python", help="python that has matrixd (default: .venv of the repository)")
    parser.add_argument("--synapse-python", help="python that has Synapse (default: installs it into bench/.venv)")
    parser.add_argument("--work-dir", help="where databases and logs are made, and removed (default: TMPDIR)")
    parser.add_argument("--keep-logs", type=Path, help="folder that gets each server's log")
    return parser


def _names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """An argument type: names out of `known`, separated by commas."""

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no such name: {', '.join(unknown)} (of {', '.join(known)})")
        return chosen

    return names
