"""`python -m matrixd`: its arguments, exit codes, and pid file. The master itself is stood in for."""

import logging
import os
import resource
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from matrixd import __main__ as command
from matrixd.config import Config
from matrixd.util import logs, pid_file
from matrixd.util.exit_codes import Exit

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Stands in for the master; collects the configurations that it was run with."""
    configs: list[Config] = []

    def run(config: Config) -> int:
        assert config.server.pid_file
        assert pid_file.read(config.server.pid_file) == os.getpid()
        configs.append(config)
        return 7

    master = types.ModuleType("matrixd.master.main")
    master.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "matrixd.master.main", master)
    monkeypatch.setattr(logs, "start", lambda dict_config: None)
    return configs


@pytest.fixture
def config_path(tmp_path: Path, capsys: Capture) -> Path:
    path = tmp_path / "homeserver.yaml"
    arguments = ["--server-name", "my.domain", "--config-path", str(path), "--generate-config", "--report-stats=no"]
    assert command.main(arguments) == Exit.OK
    assert "The server's name is my.domain, for ever" in capsys.readouterr().out
    return path


def test_the_master_runs_with_the_configuration(config_path: Path, ran: list[Config], tmp_path: Path) -> None:
    assert command.main(["-c", str(config_path)]) == 7
    assert ran[0].server.server_name == "my.domain"
    assert not (tmp_path / "homeserver.pid").exists()


def test_several_files_merge(config_path: Path, ran: list[Config], tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("max_upload_size: 1M\n")
    assert command.main(["-c", str(config_path), "--config-path", str(tmp_path / "more.yaml")]) == 7
    assert ran[0].media.max_upload_bytes == 1024**2


def test_warnings_are_logged(config_path: Path, ran: list[Config], caplog: pytest.LogCaptureFixture) -> None:
    with config_path.open("a") as file:
        file.write("max_uplod_size: 1M\n")
    with caplog.at_level(logging.WARNING):
        command.main(["-c", str(config_path)])
    assert "did you mean `max_upload_size`?" in caplog.text


def test_a_wrong_configuration_stops_the_start(config_path: Path, ran: list[Config], capsys: Capture) -> None:
    with config_path.open("a") as file:
        file.write("max_upload_size: lots\nbcrypt_rounds: 99\n")
    assert command.main(["-c", str(config_path)]) == Exit.CONFIG
    printed = capsys.readouterr().err
    assert "2 values of the configuration are wrong" in printed
    assert "max_upload_size: is not a size." in printed
    assert ran == []


def test_a_wrong_log_configuration(config_path: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "my.domain.log.config").write_text("version: 1\nhandlers: {a: {class: no.such.Handler}}\n")
    assert command.main(["-c", str(config_path)]) == Exit.CONFIG
    assert "the log cannot be started: Unable to configure handler 'a'" in capsys.readouterr().err


def test_a_server_that_runs_already(config_path: Path, ran: list[Config], tmp_path: Path, capsys: Capture) -> None:
    parent = os.getppid()
    (tmp_path / "homeserver.pid").write_text(f"{parent}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matrixd.util.processes._command", lambda directory: ("python", "-m", "matrixd"))
        assert command.main(["-c", str(config_path)]) == Exit.FAILED
    assert f"it already runs, with pid {parent}" in capsys.readouterr().err
    assert ran == []
    assert (tmp_path / "homeserver.pid").exists()


def test_a_pid_file_that_cannot_be_written(config_path: Path, ran: list[Config], capsys: Capture) -> None:
    config_path.write_text(config_path.read_text().replace("homeserver.pid", "none/homeserver.pid"))
    assert command.main(["-c", str(config_path)]) == Exit.FAILED
    assert "Cannot write pid_file" in capsys.readouterr().err
    assert ran == []


def test_files_of_the_server_are_nobody_elses(config_path: Path, ran: list[Config]) -> None:
    command.main(["-c", str(config_path)])
    assert os.umask(0o022) == 0o027


def test_the_limit_of_open_files(config_path: Path, ran: list[Config]) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        command.main(["-c", str(config_path)])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[1], command.MOST_OPEN_FILES)
        with config_path.open("a") as file:
            file.write("soft_file_limit: 300\n")
        command.main(["-c", str(config_path)])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--generate-config", "-c", "x.yaml"],
        ["--generate-config", "--server-name", "a.example"],
        ["--generate-config", "--server-name", "A.example", "-c", "x.yaml"],
        ["--report-stats=maybe"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == Exit.USAGE


def test_nothing_is_overwritten(config_path: Path, capsys: Capture) -> None:
    before = config_path.read_text()
    arguments = ["--server-name", "other.domain", "-c", str(config_path), "--generate-config"]
    assert command.main(arguments) == Exit.FAILED
    assert "left as it is" in capsys.readouterr().err
    assert config_path.read_text() == before


def test_missing_keys_can_be_made(config_path: Path, tmp_path: Path, capsys: Capture, ran: list[Config]) -> None:
    key = tmp_path / "my.domain.signing.key"
    key.unlink()
    assert command.main(["-c", str(config_path)]) == Exit.CONFIG
    assert "--generate-keys" in capsys.readouterr().err
    assert command.main(["-c", str(config_path), "--generate-keys"]) == Exit.OK
    made = key.read_text()
    assert command.main(["-c", str(config_path), "--generate-keys"]) == Exit.OK
    assert key.read_text() == made
    assert command.main(["-c", str(config_path)]) == 7
