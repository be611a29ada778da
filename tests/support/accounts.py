"""The account endpoints in the test's own process: a dispatcher on a fresh database, without sockets and reactor."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import Deferred, succeed

from matrixd.config import load
from matrixd.config.generate import NewServer, generate
from matrixd.core.streams import Stream
from matrixd.http.kit.dispatch import Dispatcher, Raw, Response
from matrixd.http.kit.route import Router
from matrixd.master.accounts import Accounts, build_accounts
from matrixd.queries.authentication import Authenticator
from matrixd.queries.feed import Feed
from matrixd.queries.openid import OpenIdOwners
from matrixd.util.lru import CacheBudget
from tests.support.clock import TestClock
from tests.support.database import DatabasePlace, OpenDatabase
from tests.support.exchange import Answer
from tests.support.openapi import Specification

T = TypeVar("T")

SERVER_NAME = "test.example"
PASSWORD = "correct horse battery staple"
SECRET = "shared secret of the tests"
NO_LIMIT = "{per_second: 1000000, burst_count: 1000000}"
OPEN_REGISTRATION = f"""
enable_registration: true
enable_registration_without_verification: true
allow_guest_access: true
bcrypt_rounds: 4
registration_shared_secret: {SECRET}
login_via_existing_session: {{enabled: true}}
rc_registration: {NO_LIMIT}
rc_registration_token_validity: {NO_LIMIT}
rc_3pid_validation: {NO_LIMIT}
rc_login: {{address: {NO_LIMIT}, account: {NO_LIMIT}, failed_attempts: {NO_LIMIT}}}
"""


def _now(function: Callable[..., object], *args: object) -> Deferred[object]:
    return succeed(function(*args))


@dataclass
class AccountServer:
    """The endpoints of accounts. ``options`` are lines of YAML that are laid over `OPEN_REGISTRATION`."""

    place: DatabasePlace
    directory: Path
    options: str = ""
    specification: Specification | None = None
    left_rooms: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        base = self.directory / "homeserver.yaml"
        if not base.exists():
            generate(NewServer(SERVER_NAME, base, self.directory, self.directory))
        layer = self.directory / "layer.yaml"
        layer.write_text(OPEN_REGISTRATION)
        last = self.directory / "options.yaml"
        last.write_text(self.options or "{}")
        config = load([base, layer, last], read_files=False)
        self.clock = TestClock()
        self.db = OpenDatabase(self.place)
        database = self.db.database
        self.feed = feed = Feed(dict.fromkeys(Stream, 0))
        database.on_commit = feed.append
        authenticator = Authenticator(database, self.clock, CacheBudget(1_000_000))
        self.accounts: Accounts = build_accounts(
            config, database, self.clock, feed, authenticator, self._leave, in_thread=_now
        )
        self.openid = OpenIdOwners(database, self.clock)
        self.dispatcher = Dispatcher(
            Router(self.accounts.routes),
            authenticator,
            self.accounts.limiters,
            self.clock,
            self.accounts.last_seen.note,
        )

    async def _leave(self, user_id: str) -> None:
        self.left_rooms.append(user_id)

    def close(self) -> None:
        """Stops the database."""
        self.db.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that uses the database."""
        return self.db.wait(Deferred.fromCoroutine(work))

    def count(self, table: str) -> int:
        """The rows of a table."""
        row = self.db.read(lambda tx: tx.one(f"SELECT COUNT(*) FROM {table}"))
        assert row is not None
        return int(row[0])

    def request(
        self,
        method: str,
        target: str,
        body: object = None,
        token: str | None = None,
        *,
        form: bool = False,
        checked: bool = True,
    ) -> Answer:
        """Sends a request; its answer is checked against the specification where that is at hand."""
        parts = urlsplit(target)
        content = b"" if body is None or form else body if isinstance(body, bytes) else json.dumps(body).encode()
        arguments = {name.encode(): [v.encode() for v in values] for name, values in parse_qs(parts.query).items()}
        if form and isinstance(body, Mapping):
            arguments |= {name.encode(): [str(value).encode()] for name, value in body.items()}
        authorization = None if token is None else b"Bearer " + token.encode()
        raw = Raw(
            method.encode(), parts.path.encode(), arguments, authorization, content, "192.0.2.7", "tests",
            lambda callback: None,
        )
        response: Response = self.db.wait(Deferred.fromCoroutine(self.dispatcher.respond(raw)))
        headers = {name.decode().lower(): value.decode() for name, value in response.headers}
        if checked and self.specification is not None and parts.path.startswith("/_matrix/client/"):
            self.specification.check_answer(
                method, target, response.status, headers, response.body, with_token=token is not None
            )
        return Answer(method, target, response.status, headers, response.body)

    def post(self, path: str, body: object = None, token: str | None = None) -> Answer:
        """POST to a path under ``/_matrix/client``."""
        return self.request("POST", f"/_matrix/client{path}", {} if body is None else body, token)

    def get(self, path: str, token: str | None = None) -> Answer:
        """GET of a path under ``/_matrix/client``."""
        return self.request("GET", f"/_matrix/client{path}", None, token)

    def user(self, name: str, password: str = PASSWORD, **body: Any) -> Answer:
        """Registers a user."""
        request = {"username": name, "password": password, "auth": {"type": "m.login.dummy"}, **body}
        answer = self.post("/v3/register", request)
        assert answer.status == 200, answer.body
        return answer

    def login(self, user: str, password: str = PASSWORD, **body: Any) -> Answer:
        """Logs in, or tries to."""
        request = {
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": user}, "password": password, **body
        }
        return self.post("/v3/login", request)


def password_auth(user: str, password: str = PASSWORD, session: str | None = None) -> dict[str, Any]:
    """The ``auth`` of m.login.password."""
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user}, "password": password}
    return auth if session is None else {**auth, "session": session}
