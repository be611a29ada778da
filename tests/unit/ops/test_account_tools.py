"""register_new_matrix_user, hash_password and generate_signing_key."""

import hashlib
import hmac
import http.server
import json
import stat
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
import signedjson.key

from matrixd.ops import generate_signing_key, hash_password, register_new_matrix_user
from matrixd.ops.register_new_matrix_user import Account, mac
from matrixd.util.exit_codes import Exit
from matrixd.util.passwords import is_password

Capture = pytest.CaptureFixture[str]


class AdminApi(http.server.BaseHTTPRequestHandler):
    """The shared-secret registration, as Synapse's documentation describes it."""

    secret = "shared"
    accounts: ClassVar[dict[str, dict[str, Any]]] = {}
    ended: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.answer(200, {"nonce": "n0nce"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/logout"):
            self.ended.append(self.headers["Authorization"])
            return self.answer(200, {})
        signed = "\0".join(
            [body["nonce"], body["username"], body["password"], "admin" if body["admin"] else "notadmin"]
        )
        if body["mac"] != hmac.new(self.secret.encode(), signed.encode(), hashlib.sha1).hexdigest():
            return self.answer(403, {"errcode": "M_UNKNOWN", "error": "HMAC incorrect"})
        if body["username"] in self.accounts:
            return self.answer(400, {"errcode": "M_USER_IN_USE", "error": "User ID already taken."})
        self.accounts[body["username"]] = body
        return self.answer(200, {"user_id": f"@{body['username']}:test", "access_token": "token"})

    def answer(self, status: int, body: dict[str, str]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def server() -> Iterator[str]:
    AdminApi.accounts.clear()
    AdminApi.ended.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), AdminApi) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_an_account_is_made_and_its_session_ended(server: str, capsys: Capture) -> None:
    arguments = ["-k", "shared", "-u", "alice", "-p", "s3cret", "-a", server]
    assert register_new_matrix_user.main(arguments) == Exit.OK
    assert "@alice:test" in capsys.readouterr().out
    assert AdminApi.accounts["alice"]["admin"] is True
    assert AdminApi.ended == ["Bearer token"]


def test_what_is_missing_is_asked_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["bob", "yes"])
    passwords = iter(["pässword", "pässword"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(passwords))
    assert register_new_matrix_user.main(["-k", "shared", server]) == Exit.OK
    assert (AdminApi.accounts["bob"]["password"], AdminApi.accounts["bob"]["admin"]) == ("pässword", True)


def test_passwords_that_differ(server: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    passwords = iter(["a", "b"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(passwords))
    assert register_new_matrix_user.main(["-k", "shared", "-u", "bob", "--no-admin", server]) == Exit.FAILED
    assert "differ" in capsys.readouterr().err
    assert AdminApi.accounts == {}


def test_the_password_may_come_from_a_file_or_standard_input(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("from file\nmore\n")
    common = ["-k", "shared", "--no-admin", server]
    assert register_new_matrix_user.main(["-u", "a", "--password-file", str(tmp_path / "password"), *common]) == Exit.OK
    monkeypatch.setattr("sys.stdin", StringIO("from stdin\n"))
    assert register_new_matrix_user.main(["-u", "b", "--password-file", "-", *common]) == Exit.OK
    assert [account["password"] for account in AdminApi.accounts.values()] == ["from file", "from stdin"]


def test_secret_and_url_come_from_the_configuration(server: str, tmp_path: Path) -> None:
    listener = f"{{port: {server.rpartition(':')[2]}, bind_addresses: [127.0.0.1]}}"
    text = f"server_name: test\nregistration_shared_secret: shared\nlisteners: [{listener}]\n"
    (tmp_path / "homeserver.yaml").write_text(text)
    arguments = ["-c", str(tmp_path / "homeserver.yaml"), "-u", "alice", "-p", "x", "--no-admin"]
    assert register_new_matrix_user.main(arguments) == Exit.OK
    assert AdminApi.accounts["alice"]["admin"] is False


def test_an_existing_account(server: str, capsys: Capture) -> None:
    arguments = ["-k", "shared", "-u", "alice", "-p", "x", "--no-admin", server]
    assert register_new_matrix_user.main(arguments) == Exit.OK
    assert register_new_matrix_user.main(arguments) == Exit.FAILED
    assert "User ID already taken. (400 M_USER_IN_USE)" in capsys.readouterr().err
    assert register_new_matrix_user.main([*arguments, "--exists-ok"]) == Exit.OK


def test_a_wrong_secret(server: str, capsys: Capture) -> None:
    assert (
        register_new_matrix_user.main(["-k", "bad", "-u", "a", "-p", "x", "-a", "--exists-ok", server]) == Exit.FAILED
    )
    assert "HMAC incorrect" in capsys.readouterr().err


def test_a_server_that_does_not_run(capsys: Capture) -> None:
    arguments = ["-k", "bad", "-u", "a", "-p", "x", "-a", "http://127.0.0.1:1"]
    assert register_new_matrix_user.main(arguments) == Exit.FAILED
    assert "Does the server run?" in capsys.readouterr().err


def test_a_configuration_without_a_secret(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "homeserver.yaml").write_text("server_name: test\n")
    assert register_new_matrix_user.main(["-c", str(tmp_path / "homeserver.yaml"), "-u", "a"]) == Exit.FAILED
    assert "no registration_shared_secret" in capsys.readouterr().err


def test_the_mac_is_that_of_the_documentation() -> None:
    account = Account("pepper_roni", "pizza", True)
    expected = hmac.new(b"key", b"thisisanonce\0pepper_roni\0pizza\0admin", hashlib.sha1).hexdigest()
    assert mac("key", "thisisanonce", account) == expected
    with_type = hmac.new(b"key", b"n\0a\0b\0notadmin\0bot", hashlib.sha1).hexdigest()
    assert mac("key", "n", Account("a", "b", False, "bot")) == with_type


def test_hash_password(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "homeserver.yaml").write_text("server_name: test\nbcrypt_rounds: 5\npassword_config: {pepper: hot}\n")
    assert hash_password.main(["-c", str(tmp_path / "homeserver.yaml"), "-p", "x"]) == Exit.OK
    printed = capsys.readouterr().out.strip()
    assert printed.startswith("$2b$05$")
    assert is_password("x", printed, "hot")
    assert not is_password("x", printed)


def test_generate_signing_key(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "new.key"
    assert generate_signing_key.main(["-o", str(path)]) == Exit.OK
    (key,) = signedjson.key.read_signing_keys(path.read_text().splitlines())
    assert key.alg == "ed25519"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert generate_signing_key.main(["-o", str(path)]) == Exit.FAILED
    assert "left as it is" in capsys.readouterr().err
    assert generate_signing_key.main([]) == Exit.OK
    assert capsys.readouterr().out.startswith("ed25519 a_")
