"""The whole way from files to Config: defaults, merging, faults all at once, warnings."""

import dataclasses
from pathlib import Path

import pytest

from matrixd.config import ConfigError, load
from matrixd.config.load import known_options
from matrixd.config.synapse_options import SYNAPSE_ONLY

from .conftest import Complainer, Loader


def test_a_server_name_is_enough(load_text: Loader, directory: Path) -> None:
    config = load_text("")
    assert config.server.server_name == "test.example"
    assert config.database.path == directory / "homeserver.db"
    assert [listener.port for listener in config.listeners] == [8008]
    assert config.registration.mode == "closed"
    assert config.warnings == ()


def test_everything_wrong_is_told_at_once_in_the_order_of_lines(faults: Complainer) -> None:
    text = """\
enable_registration: true
bcrypt_rounds: many
turn_uris: [turn:a.example, http://b.example, 3]
turn_shared_secret: s
rc_message:
  per_second: 0
presence: {mode: sometimes}
"""
    assert faults(text) == [
        "2 enable_registration: is true and nothing verifies who registers: spammers find such servers within days.",
        "3 bcrypt_rounds: is text, not a whole number.",
        "4 turn_uris[1]: is `http://b.example`, which is no TURN URI.",
        "4 turn_uris[2]: is a whole number, not text.",
        "7 rc_message.per_second: is 0.",
        "8 presence.mode: is `sometimes`.",
    ]


def test_the_error_names_file_line_reason_and_cure(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: https://example.com\n")
    with pytest.raises(ConfigError) as caught:
        load([path], read_files=False)
    assert str(caught.value) == (
        "1 value of the configuration is wrong:\n"
        f"{path}:1: server_name: is a URL, not a server name.\n"
        "    Write a host name such as `example.com`, with a port only if you need one."
    )


def test_a_later_file_replaces_whole_options(load_text: Loader) -> None:
    config = load_text(
        "database: {name: sqlite3, args: {database: a.db}}\nturn_uris: [turn:a.example]\nturn_shared_secret: a\n",
        "database: {name: psycopg2, args: {host: db.example, cp_max: 7}}\nturn_uris: [turn:b.example]\n",
    )
    assert (config.database.name, config.database.path, config.database.readers) == ("psycopg2", None, 7)
    assert config.database.args == {"host": "db.example"}
    assert config.turn.uris == ("turn:b.example",)
    assert config.turn.shared_secret == "a"


def test_a_directory_is_read_in_the_order_of_its_names(directory: Path) -> None:
    (directory / "10.yaml").write_text("server_name: test.example\nmax_upload_size: 1M\n")
    (directory / "20.yaml").write_text("max_upload_size: 2M\n")
    (directory / "30.txt").write_text("max_upload_size: 3M\n")
    config = load([directory])
    assert config.media.max_upload_bytes == 2 * 1024**2
    assert [path.name for path in config.paths] == ["10.yaml", "20.yaml"]


def test_faults_of_several_files_name_their_file(load_text: Loader) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("bcrypt_rounds: 1\n", "\nbcrypt_rounds: 99\nreport_stats: maybe\n")
    assert [
        (fault.place.file.name, fault.place.line, fault.option) for fault in caught.value.faults if fault.place
    ] == [
        ("1.yaml", 2, "bcrypt_rounds"),
        ("1.yaml", 3, "report_stats"),
    ]


def test_unknown_options_are_warned_of_once_together_with_the_nearest_name(load_text: Loader) -> None:
    config = load_text("enable_registraton: false\nxyzzy: 1\nlisteners: [{port: 8008, bind_adresses: ['::1'], "
                       "bind_addresses: ['::1']}]\n")  # fmt: skip
    (warning,) = config.warnings
    assert "enable_registraton (" in warning
    assert "did you mean `enable_registration`?" in warning
    assert "listeners[0].bind_adresses" in warning
    assert "did you mean `bind_addresses`?" in warning
    assert "xyzzy (" in warning


def test_options_of_synapse_only_get_a_sentence_of_their_own(load_text: Loader) -> None:
    config = load_text(
        "form_secret: x\ncaches: {global_factor: 2}\nlisteners: [{port: 1, tag: x, bind_address: '::1'}]\n"
    )
    (warning,) = config.warnings
    assert warning.startswith("Options known from Synapse; matrixd has no such option")
    for name in ("form_secret", "caches.global_factor", "listeners[0].tag"):
        assert name in warning


def test_no_option_is_both_known_here_and_called_synapses_own() -> None:
    assert known_options() & SYNAPSE_ONLY == set()


def test_duplicate_options_are_faults(faults: Complainer) -> None:
    assert faults("report_stats: false\nreport_stats: true\ncaches: {a: 1, a: 2}\n") == [
        "3 report_stats: stands twice; the first is in line 2.",
        "4 a: stands twice; the first is in line 4.",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1\n", "is not YAML: expected ',' or ']', but got '<stream end>'."),
        ("a: !!python/object:os.system x\n", "is not YAML: could not determine a constructor for the tag"),
        ("a: &a [*a]\n", "is not YAML: an anchor contains itself."),
        ("\x01", "is not YAML:"),
    ],
)
def test_broken_yaml_is_a_fault(faults: Complainer, text: str, reason: str) -> None:
    (complaint,) = faults(text)
    assert reason in complaint


def test_files_that_cannot_be_read_are_faults(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        load([tmp_path / name for name in ("none.yaml", "latin.yaml", "list.yaml", "empty")])
    assert {fault.reason for fault in caught.value.faults} == {
        "cannot be read: No such file or directory.",
        "is not UTF-8 text.",
        "holds a list, not options.",
        "is a directory without *.yaml files.",
    }


def test_an_empty_file_lacks_only_the_server_name(tmp_path: Path) -> None:
    (tmp_path / "homeserver.yaml").write_text("# nothing\n")
    with pytest.raises(ConfigError) as caught:
        load([tmp_path / "homeserver.yaml"], read_files=False)
    assert [(fault.option, fault.reason) for fault in caught.value.faults] == [("server_name", "is missing.")]


def test_relative_paths_count_from_the_file_that_names_them(directory: Path, load_text: Loader) -> None:
    config = load_text("pid_file: run/../homeserver.pid\nmedia_store_path: media\n")
    assert config.server.pid_file == directory / "homeserver.pid"
    assert config.media.store_path == directory / "media"


def test_null_means_the_default(load_text: Loader) -> None:
    config = load_text("max_upload_size: null\nlisteners:\ndatabase: ~\n")
    assert config.media.max_upload_bytes == 50 * 1024**2
    assert len(config.listeners) == 1


def test_secrets_are_not_in_the_repr(load_text: Loader) -> None:
    config = load_text(
        "registration_shared_secret: hidden1\nturn_shared_secret: hidden2\nturn_password: hidden3\n"
        "password_config: {pepper: hidden4}\ndatabase: {name: psycopg2, args: {password: hidden5}}\n"
    )
    assert config.passwords.pepper == "hidden4"
    assert "hidden" not in repr(config)


def test_secrets_of_a_wrong_kind_are_not_repeated(faults: Complainer) -> None:
    (complaint,) = faults("registration_shared_secret: 123456\n")
    assert complaint == "2 registration_shared_secret: is a whole number, not text."


def test_config_is_frozen(load_text: Loader) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_text("").media.enabled = False  # type: ignore[misc]
