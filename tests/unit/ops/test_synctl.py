"""synctl with a stand-in for the server: what it prints, which code it ends with, what it leaves."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from matrixd.ops import background, status, synctl
from matrixd.util import pid_file
from matrixd.util.exit_codes import Action, State

from .conftest import Server

Capture = pytest.CaptureFixture[str]
StandIn = Callable[[str], Server]


def test_start_status_stop(stand_in: StandIn, config_path: Path, capsys: Capture) -> None:
    installation, command = stand_in("well")
    assert background.start(installation, command) == Action.OK
    printed = capsys.readouterr().out
    assert "migrating the database" in printed
    assert f"answers at http://127.0.0.1:{installation.config.listeners[0].port}" in printed

    assert synctl.main(["status", str(config_path)]) == State.RUNNING
    printed = capsys.readouterr().out
    pid = pid_file.read(installation.pid_file)
    for part in (f"pid {pid}", "uptime ", "MiB", "http://127.0.0.1", "events 42"):
        assert part in printed

    assert background.start(installation, command) == Action.OK
    assert f"already runs, with pid {pid}" in capsys.readouterr().out

    assert synctl.main(["stop", str(config_path)]) == Action.OK
    assert "has ended" in capsys.readouterr().out
    assert synctl.main(["status", str(config_path)]) == State.NOT_RUNNING
    assert synctl.main(["stop", str(config_path)]) == Action.OK
    assert "does not run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mode", "code", "says"),
    [
        ("fails", Action.NOT_RUNNING, ["ended with exit code 1", "the stand-in says hello", "no room at the inn"]),
        ("wrong configuration", Action.NOT_CONFIGURED, ["ended with exit code 78"]),
        ("unwell", Action.FAILED, ["is ready but does not answer", "503"]),
    ],
)
def test_start_tells_why_it_failed(
    stand_in: StandIn, capsys: Capture, mode: str, code: Action, says: list[str]
) -> None:
    installation, command = stand_in(mode)
    installation.output_file.write_text("of an earlier run\n")
    assert background.start(installation, command) == code
    printed = capsys.readouterr().err
    for part in says:
        assert part in printed
    assert "of an earlier run" not in printed


def test_stop_is_bounded_and_force_kills(stand_in: StandIn, capsys: Capture) -> None:
    installation, command = stand_in("stubborn")
    assert background.start(installation, command) == Action.OK
    assert background.stop(installation, 0.3, force=False) == Action.FAILED
    assert "still runs after 0.3 s" in capsys.readouterr().err
    assert background.stop(installation, 0.3, force=True) == Action.OK
    assert not installation.pid_file.exists()


def test_a_pid_file_of_a_dead_process(stand_in: StandIn, config_path: Path, capsys: Capture) -> None:
    installation, command = stand_in("well")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    installation.pid_file.write_text(f"{ended.pid}\n")
    assert synctl.main(["status", str(config_path)]) == State.DEAD_WITH_PID_FILE
    assert "is dead" in capsys.readouterr().out
    assert background.start(installation, command) == Action.OK
    assert "Removing" in capsys.readouterr().out
    assert background.stop(installation, 10, force=False) == Action.OK


def test_a_pid_that_another_program_has_now(stand_in: StandIn, config_path: Path, capsys: Capture) -> None:
    installation, _ = stand_in("well")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        installation.pid_file.write_text(f"{other.pid}\n")
        assert synctl.main(["status", str(config_path)]) == State.DEAD_WITH_PID_FILE
        assert "another program's" in capsys.readouterr().out
        assert background.stop(installation, 10, force=True) == Action.OK
        assert other.poll() is None, "stop must not end a program that is not ours"
        other.communicate(b"\n")


def test_without_a_configuration(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert synctl.main(["start"]) == Action.NOT_CONFIGURED
    assert "homeserver.yaml is not there" in capsys.readouterr().err
    assert synctl.main(["status"]) == State.UNKNOWN
    (tmp_path / "homeserver.yaml").write_text("server_name: test.example\nbcrypt_rounds: x\n")
    assert synctl.main(["start"]) == Action.NOT_CONFIGURED
    assert "bcrypt_rounds" in capsys.readouterr().err
    (tmp_path / "homeserver.yaml").write_text("server_name: test.example\n")
    assert synctl.main(["start"]) == Action.NOT_CONFIGURED
    assert "has no `pid_file`" in capsys.readouterr().err


def test_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        synctl.main(["begin"])
    assert ended.value.code == Action.USAGE


def test_an_unreadable_pid_file(config_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pid_file, "read", forbidden)
    assert synctl.main(["status", str(config_path)]) == State.UNKNOWN
    assert synctl.main(["stop", str(config_path)]) == Action.NO_PRIVILEGE
    assert "Permission denied" in capsys.readouterr().err


def test_the_server_outlives_its_starter_and_has_no_terminal(stand_in: StandIn) -> None:
    installation, command = stand_in("well")
    assert background.start(installation, command) == Action.OK
    pid = pid_file.read(installation.pid_file)
    assert pid
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert background.stop(installation, 10, force=False) == Action.OK


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h"), (86400, "1 d")]
)
def test_uptimes(seconds: float, text: str) -> None:
    assert status.duration(seconds) == text
