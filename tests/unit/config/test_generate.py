"""A generated configuration, and the samples in conf/."""

import logging.config
import stat
from pathlib import Path

import pytest

from matrixd.config import load
from matrixd.config.generate import NewServer, generate
from matrixd.config.load import known_options

from .sample import FILES

REPOSITORY = Path(__file__).parents[3]


def new_server(directory: Path, name: str = "my.domain") -> NewServer:
    return NewServer(name, directory / "homeserver.yaml", directory / "data", directory / "conf")


def test_a_generated_configuration_loads_without_a_warning(tmp_path: Path) -> None:
    generate(new_server(tmp_path))
    config = load([tmp_path / "homeserver.yaml"])
    assert config.warnings == ()
    assert config.server.server_name == "my.domain"
    assert config.server.public_baseurl is None
    assert config.server.pid_file == tmp_path / "data/homeserver.pid"
    assert config.database.path == tmp_path / "data/homeserver.db"
    assert config.registration.mode == "closed"
    assert len(config.registration.shared_secret or "") >= 40
    logging.config.DictConfigurator(config.logging.dict_config)


def test_what_is_commented_out_is_right_too(tmp_path: Path) -> None:
    generate(new_server(tmp_path))
    path = tmp_path / "homeserver.yaml"
    lines = path.read_text().splitlines()
    wanted = ("#public_baseurl", "#memory_budget", "#presence", "#  mode", "#turn_", "#default_room")
    path.write_text("\n".join(line.removeprefix("#") if line.startswith(wanted) else line for line in lines))
    config = load([path])
    assert config.warnings == ()
    assert config.server.public_baseurl == "https://matrix.my.domain/"
    assert config.memory.budget_bytes == 256 * 1024**2


@pytest.mark.parametrize("name", ["localhost", "localhost:8008", "[::1]:8448", "1.2.3.4", "true", "123"])
def test_every_server_name_is_read_back(tmp_path: Path, name: str) -> None:
    generate(new_server(tmp_path, name))
    config = load([tmp_path / "homeserver.yaml"])
    assert config.server.server_name == name
    assert config.server.public_baseurl == ("http://localhost:8008/" if name.startswith("localhost") else None)


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    server = new_server(tmp_path)
    generate(server)
    for file in (server.config_path, server.signing_key):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_servers_have_different_secrets(tmp_path: Path) -> None:
    generate(new_server(tmp_path / "a"))
    generate(new_server(tmp_path / "b"))
    first, second = (load([tmp_path / name / "homeserver.yaml"]) for name in "ab")
    assert first.registration.shared_secret != second.registration.shared_secret
    assert first.keys.signing_keys[0].encode() != second.keys.signing_keys[0].encode()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    server = new_server(tmp_path)
    generate(server)
    key = server.signing_key.read_text()
    with pytest.raises(FileExistsError):
        generate(server)
    server.config_path.unlink()
    assert generate(server) == [server.config_path]
    assert server.signing_key.read_text() == key


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_samples_are_what_is_generated(file: Path) -> None:
    """If this fails after a change of the templates: python -m tests.unit.config.sample"""
    assert file.read_text(encoding="utf-8") == FILES[file]


def test_the_manual_has_every_option() -> None:
    manual = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    for option in known_options():
        assert f"`{option.rpartition('.')[2]}`" in manual, option
