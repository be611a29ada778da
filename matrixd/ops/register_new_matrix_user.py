"""`register_new_matrix_user -c homeserver.yaml [URL]`: makes an account, with the shared secret of the configuration.

It speaks to the running server through `/_synapse/admin/v1/register`, as Synapse's documentation of its admin API
describes it ("Shared-Secret Registration"): get a nonce, send it back with an HMAC-SHA1 over the account.
"""

import argparse
import hashlib
import hmac
import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matrixd.config import Config, ConfigError, load
from matrixd.config.server import guessed_url
from matrixd.ops import asking
from matrixd.ops.asking import Refused
from matrixd.util.exit_codes import Exit

ENDPOINT = "/_synapse/admin/v1/register"
LOGOUT = "/_matrix/client/v3/logout"
_TIMEOUT_S = 60.0
_MAX_ANSWER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Account:
    """The account to make."""

    username: str
    """The localpart."""
    password: str = field(repr=False)
    admin: bool
    user_type: str | None = None


class ServerRefused(Refused):
    """The server answered with an error of Matrix."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        self.errcode = errcode
        super().__init__(f"The server refused: {error} ({status} {errcode})")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = load([Path(path) for path in options.config], read_files=False) if options.config else None
        secret = _secret(options, config)
        url = _url(options, config)
        account = _account(options)
        user_id = Registration(url, secret, insecure=options.insecure).make(account)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except ServerRefused as error:
        if options.exists_ok and error.errcode == "M_USER_IN_USE":
            print("The account is there already.")
            return Exit.OK
        print(error, file=sys.stderr)
        return Exit.FAILED
    except Refused as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    print(f"Success! {user_id} can log in at {url}" + (", as an admin." if account.admin else "."))
    return Exit.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("register_new_matrix_user", description="Makes an account on a running server.")
    add = parser.add_argument
    add("-u", "--user", metavar="NAME", help="the localpart; asked for if left out")
    password = parser.add_mutually_exclusive_group()
    password.add_argument("-p", "--password", help="asked for if left out (other users may see arguments)")
    password.add_argument("--password-file", metavar="FILE", help="has the password in its first line; - for stdin")
    admin = parser.add_mutually_exclusive_group()
    admin.add_argument("-a", "--admin", action="store_true", default=None, help="make it an admin")
    admin.add_argument("--no-admin", action="store_false", dest="admin", help="make it no admin")
    add("-t", "--user_type", "--user-type", metavar="TYPE", help="a user type, as the admin API knows it")
    add("--exists-ok", action="store_true", help="succeed if the account exists; it is left as it is")
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("-c", "--config", action="append", metavar="FILE", help="configuration; several are merged")
    secret.add_argument("-k", "--shared-secret", metavar="SECRET", help="the registration_shared_secret itself")
    add("--insecure", action="store_true", help="do not check the server's certificate")
    add("server_url", nargs="?", metavar="URL", help="the server (by default the first listener for clients)")
    return parser


def _secret(options: argparse.Namespace, config: Config | None) -> str:
    secret: str | None = config.registration.shared_secret if config else options.shared_secret
    if not secret:
        raise Refused("The configuration has no registration_shared_secret. Add one, and restart the server.")
    return secret


def _url(options: argparse.Namespace, config: Config | None) -> str:
    url: str | None = options.server_url or (guessed_url(config.listeners) if config else None)
    return (url or "http://localhost:8008").rstrip("/")


def _account(options: argparse.Namespace) -> Account:
    username = options.user or asking.line("Name of the new user (localpart)")
    if not username:
        raise Refused("The name is empty.")
    password = asking.password(options.password, options.password_file)
    admin = asking.yes("Make it an admin?") if options.admin is None else options.admin
    return Account(username, password, admin, options.user_type)


class Registration:
    """The endpoint of one server. What it raises is Refused, with a sentence for the admin."""

    def __init__(self, url: str, secret: str, *, insecure: bool = False) -> None:
        self._url = url
        self._secret = secret
        self._context = ssl.create_default_context()
        if insecure:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE

    def make(self, account: Account) -> str:
        """Makes the account and returns its user ID. The session that comes with it is ended: the user logs in."""
        nonce = _text(self._request(ENDPOINT), "nonce")
        body: dict[str, Any] = {
            "nonce": nonce,
            "username": account.username,
            "password": account.password,
            "admin": account.admin,
            "mac": mac(self._secret, nonce, account),
        }
        if account.user_type:
            body["user_type"] = account.user_type
        made = self._request(ENDPOINT, body)
        self._request(LOGOUT, {}, {"Authorization": f"Bearer {_text(made, 'access_token')}"})
        return _text(made, "user_id")

    def _request(
        self, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data, {"Content-Type": "application/json", **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=self._context) as answer:
                return json.loads(answer.read(_MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise Refused(f"{self._url} does not answer: {reason}. Does the server run?") from None

    def _refusal(self, error: urllib.error.HTTPError) -> Refused:
        try:
            answer = json.loads(error.read(_MAX_ANSWER_BYTES))
            return ServerRefused(error.code, str(answer["errcode"]), str(answer.get("error", "")))
        except (ValueError, KeyError, TypeError, OSError):
            return Refused(f"{self._url} answered {error.code} {error.reason}. Is it the URL of a homeserver?")


def _text(answer: Any, name: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, str):
        raise Refused(f"The server answered without `{name}`. Is the URL that of a homeserver?")
    return value


def mac(secret: str, nonce: str, account: Account) -> str:
    """HMAC-SHA1, in hex, of nonce, name, password, `admin` or `notadmin`, and the user type if any, parted by NULs."""
    parts = [nonce, account.username, account.password, "admin" if account.admin else "notadmin"]
    if account.user_type:
        parts.append(account.user_type)
    return hmac.new(secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
