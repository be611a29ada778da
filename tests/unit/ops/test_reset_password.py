"""reset_password, beside a running writer, on both engines."""

import json
from pathlib import Path

import pytest

from matrixd.ops import reset_password
from matrixd.storage import access_tokens, accounts, device_list_changes, devices, refresh_tokens, to_device, users
from matrixd.storage.transaction import Transaction
from matrixd.util.exit_codes import Exit
from matrixd.util.passwords import is_password
from tests.support.database import DatabasePlace, OpenDatabase

ALICE = "@alice:test.example"
Capture = pytest.CaptureFixture[str]


def make_account(tx: Transaction) -> None:
    nid = users.nid(tx, ALICE)
    accounts.create(tx, nid, ALICE, accounts.USER, "old", False, 1)
    for number, device_id in enumerate(("PHONE", "LAPTOP")):
        device_nid = devices.create(tx, nid, device_id, None, 1)
        refresh_nid = refresh_tokens.create(tx, b"r%d" % number, nid, device_nid, None, None)
        access_tokens.create(tx, b"a%d" % number, nid, device_nid, 1, None, refresh_nid)


def account(tx: Transaction) -> accounts.Account:
    found = accounts.by_user_id(tx, ALICE)
    assert found
    return found


def sessions(tx: Transaction) -> tuple[int, bool, bool]:
    """How many devices there are, and whether their tokens work."""
    known = devices.by_user(tx, account(tx).user_nid)
    return len(known), access_tokens.by_hash(tx, b"a0") is not None, refresh_tokens.by_hash(tx, b"r1") is not None


def wait_for_phone(tx: Transaction) -> None:
    """Let a message wait for the phone, and nobody wait to hear of the devices."""
    phone = devices.by_id(tx, account(tx).user_nid, "PHONE")
    assert phone
    to_device.insert(tx, [to_device.Message(phone.user_nid, phone.device_nid, "", "{}")])
    device_list_changes.told(tx, device_list_changes.untold(tx, 10))


def left_behind(tx: Transaction) -> tuple[int, list[str]]:
    """How many messages wait, and of which devices other servers are still to be told."""
    waiting = tx.all("SELECT * FROM to_device_inbox") + tx.all("SELECT * FROM to_device_load")
    return len(waiting), [device.device_id for device in device_list_changes.untold(tx, 10) if not device.exists]


def write_config(directory: Path, place: DatabasePlace) -> Path:
    options = {
        "server_name": "test.example",
        "database": {"name": place.name, "args": place.args},
        "bcrypt_rounds": 4,
        "password_config": {"pepper": "hot"},
    }
    path = directory / "homeserver.yaml"
    path.write_text(json.dumps(options))
    return path


def test_the_password_changes_and_logins_are_kept_or_ended(db: OpenDatabase, tmp_path: Path, capsys: Capture) -> None:
    db.write(make_account)
    common = ["-c", str(write_config(tmp_path, db.place))]
    assert reset_password.main(["alice", "-p", "new", "--keep-logins", *common]) == Exit.OK
    assert is_password("new", db.read(account).password_hash or "", "hot")
    assert db.read(sessions) == (2, True, True)
    db.write(wait_for_phone)
    assert reset_password.main([ALICE, "-p", "newer", "--logout", *common]) == Exit.OK
    assert is_password("newer", db.read(account).password_hash or "", "hot")
    assert db.read(sessions) == (0, False, False)
    assert db.read(left_behind) == (0, ["LAPTOP", "PHONE"])
    printed = capsys.readouterr().out
    assert "Logins are kept." in printed
    assert "Logged out: 2 devices." in printed


def test_what_is_missing_is_asked_for(db: OpenDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db.write(make_account)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "asked")
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    assert reset_password.main(["alice", "-c", str(write_config(tmp_path, db.place))]) == Exit.OK
    assert is_password("asked", db.read(account).password_hash or "", "hot")
    assert db.read(sessions)[0] == 0


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ("bob", "@bob:test.example has no account here"),
        ("@alice:elsewhere.example", "is not a user of test.example"),
        ("Alice", "Names are written in lower case"),
    ],
)
def test_other_users(db: OpenDatabase, tmp_path: Path, capsys: Capture, user: str, says: str) -> None:
    db.write(make_account)
    arguments = [user, "-p", "x", "--logout", "-c", str(write_config(tmp_path, db.place))]
    assert reset_password.main(arguments) == Exit.FAILED
    assert says in capsys.readouterr().err
    assert db.read(account).password_hash == "old"


def test_a_deactivated_account(db: OpenDatabase, tmp_path: Path, capsys: Capture) -> None:
    db.write(make_account)
    db.write(lambda tx: accounts.deactivate(tx, account(tx), False, 5))
    arguments = ["alice", "-p", "x", "--logout", "-c", str(write_config(tmp_path, db.place))]
    assert reset_password.main(arguments) == Exit.FAILED
    assert "is deactivated" in capsys.readouterr().err


def test_a_database_without_tables(empty_database: DatabasePlace, tmp_path: Path, capsys: Capture) -> None:
    if empty_database.name == "sqlite3":
        Path(empty_database.args["database"]).touch()
    arguments = ["alice", "-p", "x", "--logout", "-c", str(write_config(tmp_path, empty_database))]
    assert reset_password.main(arguments) == Exit.FAILED
    assert "The database has no tables of matrixd" in capsys.readouterr().err


def test_no_database(tmp_path: Path, capsys: Capture) -> None:
    place = DatabasePlace("sqlite3", {"database": str(tmp_path / "none.db")})
    arguments = ["alice", "-p", "x", "--logout", "-c", str(write_config(tmp_path, place))]
    assert reset_password.main(arguments) == Exit.FAILED
    assert "Start the server once" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
