"""The files by which a running server is found: pid file and status file; and what /proc says of a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from matrixd.util import pid_file, processes, status_file
from matrixd.util.processes import Process
from matrixd.util.status_file import Status

STATUS = Status("master", 5, 1000, ("http://[::1]:8008",), {"events": 42})


def test_a_status_is_read_back(tmp_path: Path) -> None:
    path = status_file.beside(tmp_path / "homeserver.pid")
    assert path == tmp_path / "homeserver.status"
    assert status_file.read(path) is None
    status_file.write(path, STATUS)
    assert status_file.read(path) == STATUS
    assert os.listdir(tmp_path) == ["homeserver.status"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"name":"x","pid":"y"}', "\x00"])
def test_what_is_no_status(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.status").write_text(text)
    assert status_file.read(tmp_path / "a.status") is None


def test_a_pid_file_is_claimed_and_released(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.pid"
    pid_file.claim(path, "matrixd")
    assert pid_file.read(path) == os.getpid()
    pid_file.release(path)
    assert not path.exists()


def test_a_pid_file_of_somebody_else_is_not_released(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.pid"
    path.write_text("1\n")
    pid_file.release(path)
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "99999999999", "12 13"])
def test_a_stale_pid_file_is_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "homeserver.pid"
    path.write_text(text)
    assert pid_file.running(path, "matrixd") is None
    pid_file.claim(path, "matrixd")
    assert pid_file.read(path) == os.getpid()


def test_this_process() -> None:
    process = processes.find(os.getpid())
    assert process
    assert process.command
    assert process.rss_bytes
    assert process.rss_bytes > 1024**2
    assert process.uptime_s is not None


def test_processes_that_have_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert processes.find(ended.pid) is None, "a zombie does not run"
    ended.wait()
    assert processes.find(ended.pid) is None


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("python3", "-m", "matrixd", "-c", "x"), True),
        (("python3", "-u", "-m", "matrixd"), True),
        (("/opt/venv/bin/python", "/opt/venv/bin/matrixd", "-c", "x"), True),
        ((), True),
        (("vi", "/etc/x", "/var/lib/matrixd"), False),
        (("python3", "-m", "http.server", "matrixd"), False),
    ],
)
def test_whether_a_process_runs_a_program(command: tuple[str, ...], expected: bool) -> None:
    assert Process(1, command, None, None).runs("matrixd") is expected


def test_which_signals_a_process_catches() -> None:
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        assert processes.catches(os.getpid(), signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert not processes.catches(os.getpid(), signal.SIGUSR2)
