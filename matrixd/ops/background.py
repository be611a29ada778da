"""Starting and stopping the server in the background."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from matrixd.config.server import guessed_url
from matrixd.ops import readiness
from matrixd.ops.installation import PROGRAM, Installation
from matrixd.util import pid_file, processes
from matrixd.util.exit_codes import Action, Exit

_TAIL_LINES = 25
_POLL_S = 0.1
_REMIND_S = 5.0


def start(installation: Installation, command: Sequence[str] = (sys.executable, "-m", PROGRAM)) -> int:
    """Starts the server and waits until it answers; prints why it did not. Returns an LSB exit code."""
    running = pid_file.running(installation.pid_file, PROGRAM)
    if running:
        print(f"{PROGRAM} already runs, with pid {running.pid}.")
        return Action.OK
    _remove_stale(installation.pid_file)
    print(f"Starting {PROGRAM} for {installation.config.server.server_name} …", flush=True)
    with readiness.listen() as ready, installation.output_file.open("ab") as output:
        began = output.tell()
        server = _spawn(installation, command, ready.environment, output.fileno())
        is_ready = ready.wait(lambda: server.poll() is None, lambda text: print(f"  {text}", flush=True))
        problem = None if is_ready else _why_not_ready(server)
    problem = problem or _why_not_answering(installation, server)
    if problem is None:
        print(f"{PROGRAM} runs, with pid {server.pid}, and answers at {_url(installation) or 'its listeners'}.")
        return Action.OK
    print(f"{PROGRAM} {problem}. Its last words, in {installation.output_file}:", file=sys.stderr)
    print(_tail(installation.output_file, began), file=sys.stderr)
    return _exit_code(server)


def stop(installation: Installation, timeout_s: float, *, force: bool) -> int:
    """Asks the server to end and waits for it; with `force`, kills it when the time is over. Returns an LSB code."""
    running = pid_file.running(installation.pid_file, PROGRAM)
    if running is None:
        _remove_stale(installation.pid_file)
        print(f"{PROGRAM} does not run.")
        return Action.OK
    print(f"Stopping {PROGRAM}, pid {running.pid} …", flush=True)
    os.kill(running.pid, signal.SIGTERM)
    if _ends(running.pid, timeout_s):
        print(f"{PROGRAM} has ended.")
        return Action.OK
    if not force:
        print(
            f"{PROGRAM}, pid {running.pid}, still runs after {timeout_s:g} s. "
            "Wait and ask `synctl status`, or use `synctl stop --force`: what it has acknowledged is safe.",
            file=sys.stderr,
        )
        return Action.FAILED
    os.kill(running.pid, signal.SIGKILL)
    if not _ends(running.pid, 10.0):
        print(f"Pid {running.pid} does not even end when it is killed; its disk may hang.", file=sys.stderr)
        return Action.FAILED
    _remove_stale(installation.pid_file)
    print(f"{PROGRAM} was killed.")
    return Action.OK


def _spawn(
    installation: Installation, command: Sequence[str], environment: dict[str, str], output: int
) -> subprocess.Popen[bytes]:
    arguments = [argument for path in installation.paths for argument in ("-c", str(path.absolute()))]
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=installation.pid_file.parent,
        env={**os.environ, **environment},
        start_new_session=True,  # neither a closed terminal nor its Ctrl-C reaches the server
    )


def _why_not_ready(server: subprocess.Popen[bytes]) -> str:
    code = server.poll()
    if code is None:
        return f"(pid {server.pid}) has not become ready within {readiness.PATIENCE_S:g} s; it was left running"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _why_not_answering(installation: Installation, server: subprocess.Popen[bytes]) -> str | None:
    url = _url(installation)
    reason = readiness.answers(url) if url else None
    return None if reason is None else f"(pid {server.pid}) is ready but does not answer at {url}: {reason}"


def _exit_code(server: subprocess.Popen[bytes]) -> int:
    code = server.poll()
    if code == Exit.CONFIG:
        return Action.NOT_CONFIGURED
    return Action.FAILED if code is None else Action.NOT_RUNNING


def _url(installation: Installation) -> str | None:
    return guessed_url(installation.config.listeners)


def _ends(pid: int, timeout_s: float) -> bool:
    began = reminded = time.monotonic()
    while processes.find(pid) is not None:
        now = time.monotonic()
        if now - began > timeout_s:
            return False
        if now - reminded > _REMIND_S:
            reminded = now
            print(f"  … it still runs after {now - began:.0f} s", flush=True)
        time.sleep(_POLL_S)
    return True


def _remove_stale(path: Path) -> None:
    if path.exists():
        print(f"Removing {path}, which a server that no longer runs has left.")
        path.unlink(missing_ok=True)


def _tail(file: Path, began: int) -> str:
    with file.open("rb") as output:
        output.seek(began)
        lines = output.read().decode("utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:]) or "  (none)"
