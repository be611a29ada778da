"""registration_tokens, beside a running writer, on both engines."""

from pathlib import Path

import pytest

from matrixd.ops import registration_tokens as command
from matrixd.storage import registration_tokens
from matrixd.util.exit_codes import Exit
from tests.support.database import OpenDatabase
from tests.unit.ops.test_reset_password import write_config

Capture = pytest.CaptureFixture[str]


def test_a_token_is_made_counted_shown_and_removed(db: OpenDatabase, tmp_path: Path, capsys: Capture) -> None:
    common = ["-c", str(write_config(tmp_path, db.place))]
    assert command.main(["new", *common, "--uses", "2", "--days", "3"]) == Exit.OK
    token = capsys.readouterr().out.strip()
    assert db.write(registration_tokens.use, token, 0)
    assert command.main(["list", *common]) == Exit.OK
    shown = capsys.readouterr().out
    assert token in shown
    assert "used for 1 of 2 accounts, valid until" in shown
    assert command.main(["delete", token, *common]) == Exit.OK
    assert not db.write(registration_tokens.use, token, 0)
    assert command.main(["delete", token, *common]) == Exit.FAILED
    assert "There is no token" in capsys.readouterr().err


def test_a_token_of_ones_choice(db: OpenDatabase, tmp_path: Path, capsys: Capture) -> None:
    common = ["-c", str(write_config(tmp_path, db.place))]
    assert command.main(["new", "welcome", "--unlimited", *common]) == Exit.OK
    assert command.main(["list", *common]) == Exit.OK
    assert "welcome  used for 0 of any number of accounts" in capsys.readouterr().out
    assert command.main(["new", "welcome", *common]) == Exit.FAILED
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["with space", "x" * 65, "ä"])
def test_a_token_that_nobody_could_send_is_refused(
    db: OpenDatabase, tmp_path: Path, capsys: Capture, token: str
) -> None:
    assert command.main(["new", token, "-c", str(write_config(tmp_path, db.place))]) == Exit.FAILED
    assert "at most 64 characters" in capsys.readouterr().err
