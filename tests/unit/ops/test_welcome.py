"""What `make run` prints, with a stand-in for the server."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from matrixd.ops import background, welcome
from matrixd.util import pid_file

from .conftest import Server

Capture = pytest.CaptureFixture[str]
StandIn = Callable[[str], Server]


def arguments(config_path: Path, pid: int | None) -> list[str]:
    return ["matrixd-welcome", "-c", str(config_path), "--pid", str(pid), "--bin", "here/"]


def test_it_tells_the_address_and_how_to_make_the_first_user(
    stand_in: StandIn, config_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    installation, command = stand_in("well")
    background.start(installation, command)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", arguments(config_path, pid_file.read(installation.pid_file)))
    assert welcome.main() == 0
    printed = capsys.readouterr().out
    assert f"test.example answers at http://127.0.0.1:{installation.config.listeners[0].port}\n" in printed
    assert f"here/register_new_matrix_user -c {config_path} --admin\n" in printed


def test_it_is_silent_where_another_server_answers(
    stand_in: StandIn, config_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    background.start(*stand_in("well"))
    capsys.readouterr()
    # Ours has not come so far, and ends.
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"])
    monkeypatch.setattr(sys, "argv", arguments(config_path, ours.pid))
    try:
        assert welcome.main() == 0
    finally:
        ours.kill()
        ours.wait()
    assert capsys.readouterr().out == ""
