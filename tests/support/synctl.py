"""A server run by the administrator's own commands: synctl and register_new_matrix_user."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.server import STOP_WITHIN_S, Installation, TestUser, environment

COMMAND_WITHIN_S = 120.0


class SynctlServer(Installation):
    """The server in the background."""

    def synctl(self, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs a verb of synctl on this configuration."""
        return self.command("synctl", verb, *options, str(self.config_path))

    def command(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs one of the project's console scripts."""
        # Output goes to a file: a server that synctl leaves behind would keep a pipe open.
        said = self.directory / f"{name}.said"
        with said.open("w+") as out:
            done = subprocess.run(
                [str(Path(sys.executable).with_name(name)), *arguments],
                cwd=self.directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_WITHIN_S,
                check=False,
            )
        return subprocess.CompletedProcess(done.args, done.returncode, said.read_text(errors="replace"), "")

    def start(self) -> None:
        """``synctl start``. Raises AssertionError with what it said, or when the server does not answer after it."""
        done = self.synctl("start")
        assert done.returncode == 0, f"synctl start: {done.stdout}\n{self.log_tail()}"
        self.wait_until_it_answers(within_s=1.0)

    def stop(self) -> None:
        """``synctl stop``. Raises AssertionError with what it said."""
        done = self.synctl("stop")
        assert done.returncode == 0, f"synctl stop: {done.stdout}\n{self.log_tail()}"

    def register(self, name: str, password: str) -> TestUser:
        """Makes an account with register_new_matrix_user."""
        config = str(self.config_path)
        done = self.command("register_new_matrix_user", "-c", config, "-u", name, "-p", password, "--no-admin")
        assert done.returncode == 0, f"register_new_matrix_user: {done.stdout}\n{self.log_tail()}"
        return TestUser(f"@{name}:{self.server_name}", password)

    @property
    def pid(self) -> int:
        """The server's process, from its pid file."""
        return int(Path(self.configuration["pid_file"]).read_text().split()[0])

    def kill(self) -> None:
        """kill -9, and waits until the process is gone."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_WITHIN_S
        while _lives(pid):
            assert time.monotonic() < deadline, f"process {pid} outlived its kill -9"
            time.sleep(0.01)

    def end(self) -> None:
        """Kills what runs, if anything does."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            self.kill()


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
