"""A synchronous Matrix client for tests, which checks every request and answer against the specification.

``MatrixClient.request`` is the one way to the server; the other methods name what tests do most often. A request that
is wrong on purpose is sent with ``validate=False``: its answer is checked all the same.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from tests.support.exchange import Answer, KeepAlive
from tests.support.openapi import SERVER_CHECKED_EVENTS, Specification, load_specification

CLIENT = "/_matrix/client/v3"
DEFAULT_TIMEOUT_S = 30.0
PASSWORD = "correct horse battery staple"

_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """A name that no other call of this or another test process returns."""
    return f"{prefix}{os.getpid():x}{next(_numbers):x}{time.time_ns() & 0xFFFFFF:x}"


def quoted(part: object) -> str:
    """One path segment, percent-encoded completely."""
    return quote(str(part), safe="")


class UnexpectedStatus(AssertionError):
    """An answer came with another status than the test expects; the text holds the answer."""

    def __init__(self, answer: Answer, expected: Collection[int]) -> None:
        self.answer = answer
        text = answer.body[:2000].decode("utf-8", "replace")
        wanted = " or ".join(str(status) for status in expected)
        super().__init__(f"{answer.method} {answer.target}: expected {wanted}, got {answer.status}: {text}")


class MatrixClient:
    """One user's client (or an anonymous one). Threads may share it: each thread has its own connection."""

    def __init__(
        self,
        base_url: str,
        *,
        specification: Specification | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.specification = specification or load_specification()
        self.timeout = timeout
        self.user_id = ""
        self.device_id = ""
        self.token: str | None = None
        self.refresh_token: str | None = None
        self.since: str | None = None
        self.checked_events: Collection[str] = SERVER_CHECKED_EVENTS
        self._connections = KeepAlive(self.base_url)

    def another(self) -> MatrixClient:
        """An anonymous client of the same server."""
        return MatrixClient(self.base_url, specification=self.specification, timeout=self.timeout)

    def copy(self) -> MatrixClient:
        """A client with the same access token and position in sync."""
        other = self.another()
        other.user_id, other.device_id, other.token, other.since = self.user_id, self.device_id, self.token, self.since
        return other

    # ---- one request -------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | bool | None = True,
        expect: int | Collection[int] | None = 200,
        validate: bool = True,
        check_answer: bool = True,
        documented: bool = True,
        timeout: float | None = None,
    ) -> Answer:
        """Sends one request and checks both sides of it.

        ``path`` is percent-encoded already and may hold a query; one without "/_" in front is below /_matrix/client/v3.
        ``token``: True is this client's own, None or False is none, a string is sent as it is.
        ``expect``: the status, several of them, or None for any; otherwise UnexpectedStatus is raised.
        ``validate=False`` sends a wrong request; ``documented=False`` speaks to a path outside the specification.
        Raises SpecificationMismatch, and OSError or http.client.HTTPException when the connection fails.
        """
        target = _target(path, query)
        sent = dict(headers or {})
        chosen = self.token if token is True else token
        if chosen:
            sent.setdefault("Authorization", f"Bearer {chosen}")
        if json is not None:
            body = _encode(json)
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        if validate and documented:
            self.specification.check_request(method, target, sent, body)
        answer = self._connections.exchange(method, target, sent, body, timeout or self.timeout)
        expected = {expect} if isinstance(expect, int) else expect
        if expected is not None and answer.status not in expected:
            raise UnexpectedStatus(answer, expected)
        if check_answer:
            self.specification.check_answer(
                method,
                target,
                answer.status,
                answer.headers,
                answer.body,
                with_token=bool(chosen) or "access_token=" in target,
                documented=documented,
                events=self.checked_events,
            )
        return answer

    def get(self, path: str, **options: Any) -> Answer:
        """A GET; options as for ``request``."""
        return self.request("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        """A POST of a JSON value, an empty object when there is neither ``json`` nor ``body``."""
        return self.request("POST", path, json=_or_empty(json, options), **options)

    def put(self, path: str, json: Any = None, **options: Any) -> Answer:
        """A PUT of a JSON value, an empty object when there is neither ``json`` nor ``body``."""
        return self.request("PUT", path, json=_or_empty(json, options), **options)

    def delete(self, path: str, json: Any = None, **options: Any) -> Answer:
        """A DELETE, with a JSON body only when one is given."""
        return self.request("DELETE", path, json=json, **options)

    def close(self) -> None:
        """Closes this thread's connection."""
        self._connections.close()

    # ---- accounts ----------------------------------------------------------------------------------------------------

    def register(self, username: str | None = None, password: str = PASSWORD, **body: Any) -> Answer:
        """Registers through the dummy stage of interactive authentication and signs this client in."""
        wanted = {"username": username or unique("user"), "password": password, **body}
        first = self.post("/register", wanted, token=None, expect={200, 401})
        if first.status == 401:
            auth = {"type": "m.login.dummy", "session": first["session"]}
            first = self.post("/register", {**wanted, "auth": auth}, token=None)
        self.signed_in(first)
        return first

    def login(self, user: str, password: str = PASSWORD, **body: Any) -> Answer:
        """Signs this client in with a password."""
        identifier = {"type": "m.id.user", "user": user}
        wanted = {"type": "m.login.password", "identifier": identifier, "password": password, **body}
        answer = self.post("/login", wanted, token=None)
        self.signed_in(answer)
        return answer

    def signed_in(self, answer: Answer) -> None:
        """Takes over the user, device and tokens of an answer to register or login."""
        self.user_id = answer["user_id"]
        self.device_id = answer.get("device_id", "")
        self.token = answer.get("access_token")
        self.refresh_token = answer.get("refresh_token")

    def logout(self) -> None:
        """Ends this device's session."""
        self.post("/logout")
        self.token = None

    def with_password(self, password: str = PASSWORD) -> dict[str, Any]:
        """The ``auth`` of a request that asks for the password, without a session."""
        return {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.user_id},
            "password": password,
        }

    # ---- rooms -------------------------------------------------------------------------------------------------------

    def create_room(self, **body: Any) -> str:
        """Makes a room (``preset``, ``invite``, ``room_version`` …) and returns its ID."""
        return str(self.post("/createRoom", body)["room_id"])

    def join(self, room_id_or_alias: str, **options: Any) -> Answer:
        """Joins by room ID or alias."""
        return self.post(f"/join/{quoted(room_id_or_alias)}", **options)

    def invite(self, room_id: str, user_id: str, **options: Any) -> Answer:
        """Invites a user."""
        return self.post(f"/rooms/{quoted(room_id)}/invite", {"user_id": user_id}, **options)

    def leave(self, room_id: str, **options: Any) -> Answer:
        """Leaves a room, or turns an invitation down."""
        return self.post(f"/rooms/{quoted(room_id)}/leave", **options)

    def kick(self, room_id: str, user_id: str, **options: Any) -> Answer:
        """Kicks a user."""
        return self.post(f"/rooms/{quoted(room_id)}/kick", {"user_id": user_id}, **options)

    def ban(self, room_id: str, user_id: str, **options: Any) -> Answer:
        """Bans a user."""
        return self.post(f"/rooms/{quoted(room_id)}/ban", {"user_id": user_id}, **options)

    def unban(self, room_id: str, user_id: str, **options: Any) -> Answer:
        """Lifts a ban."""
        return self.post(f"/rooms/{quoted(room_id)}/unban", {"user_id": user_id}, **options)

    def knock(self, room_id_or_alias: str, **options: Any) -> Answer:
        """Knocks on a room."""
        return self.post(f"/knock/{quoted(room_id_or_alias)}", **options)

    def forget(self, room_id: str, **options: Any) -> Answer:
        """Forgets a room."""
        return self.post(f"/rooms/{quoted(room_id)}/forget", **options)

    def joined_rooms(self) -> list[str]:
        """The IDs of the joined rooms."""
        return [str(room) for room in self.get("/joined_rooms")["joined_rooms"]]

    # ---- events ------------------------------------------------------------------------------------------------------

    def send(
        self,
        room_id: str,
        content: Mapping[str, Any] | str,
        event_type: str = "m.room.message",
        *,
        txn_id: str | None = None,
        **options: Any,
    ) -> Answer:
        """Sends an event; a string becomes a text message. The answer has the ``event_id``."""
        if isinstance(content, str):
            content = {"msgtype": "m.text", "body": content}
        path = f"/rooms/{quoted(room_id)}/send/{quoted(event_type)}/{quoted(txn_id or unique('t'))}"
        return self.put(path, content, **options)

    def say(self, room_id: str, text: str, **options: Any) -> str:
        """Sends a text message and returns its event ID."""
        return str(self.send(room_id, text, **options)["event_id"])

    def set_state(
        self, room_id: str, event_type: str, content: Mapping[str, Any], state_key: str = "", **options: Any
    ) -> Answer:
        """Sets one piece of state. The answer has the ``event_id``."""
        return self.put(_state_path(room_id, event_type, state_key), content, **options)

    def state(self, room_id: str) -> list[dict[str, Any]]:
        """The whole current state as events."""
        return list(self.get(f"/rooms/{quoted(room_id)}/state").json)

    def state_content(self, room_id: str, event_type: str, state_key: str = "", **options: Any) -> Answer:
        """The content of one piece of state."""
        return self.get(_state_path(room_id, event_type, state_key), **options)

    def redact(self, room_id: str, event_id: str, reason: str | None = None, **options: Any) -> Answer:
        """Redacts an event. The answer has the redaction's ``event_id``."""
        txn = options.pop("txn_id", None) or unique("t")
        body = {} if reason is None else {"reason": reason}
        return self.put(f"/rooms/{quoted(room_id)}/redact/{quoted(event_id)}/{quoted(txn)}", body, **options)

    def event(self, room_id: str, event_id: str, **options: Any) -> Answer:
        """One event."""
        return self.get(f"/rooms/{quoted(room_id)}/event/{quoted(event_id)}", **options)

    def messages(self, room_id: str, direction: str = "b", **query: Any) -> Answer:
        """One page of history; ``start`` stands for the query parameter ``from``."""
        options = {key: query.pop(key) for key in ("expect", "validate") if key in query}
        if "start" in query:
            query["from"] = query.pop("start")
        return self.get(f"/rooms/{quoted(room_id)}/messages", query={"dir": direction, **query}, **options)

    def history(self, room_id: str, limit: int = 50) -> Iterator[dict[str, Any]]:
        """Every visible event of a room, newest first, page by page."""
        start = None
        while True:
            page = self.messages(room_id, limit=limit, **({"start": start} if start else {})).json
            yield from page["chunk"]
            if "end" not in page:
                return
            start = page["end"]

    def members(self, room_id: str, **options: Any) -> dict[str, str]:
        """User ID -> membership, from /members."""
        chunk = self.get(f"/rooms/{quoted(room_id)}/members", **options)["chunk"]
        return {event["state_key"]: event["content"]["membership"] for event in chunk}

    # ---- sync --------------------------------------------------------------------------------------------------------

    def sync(self, *, timeout_ms: int = 0, since: str | bool | None = True, **query: Any) -> Answer:
        """One /sync. ``since=True`` goes on from the last one, None starts anew; a filter may be given as a dict."""
        options = {key: query.pop(key) for key in ("expect", "validate") if key in query}
        if isinstance(query.get("filter"), dict):
            query["filter"] = json.dumps(query["filter"])
        start = self.since if since is True else since
        if start:
            query["since"] = start
        waiting = timeout_ms / 1000 + self.timeout
        answer = self.get("/sync", query={"timeout": timeout_ms, **query}, timeout=waiting, **options)
        if answer.status == 200:
            self.since = answer["next_batch"]
        return answer

    def sync_until(self, found: Any, *, within_s: float = DEFAULT_TIMEOUT_S, **query: Any) -> Any:
        """Syncs on, long-polling, until ``found(answer.json)`` returns something true, and returns that.

        Raises AssertionError with the last answer after ``within_s`` seconds.
        """
        deadline = time.monotonic() + within_s
        while True:
            left = deadline - time.monotonic()
            answer = self.sync(timeout_ms=max(0, min(5000, int(left * 1000))), **query).json
            result = found(answer)
            if result:
                return result
            if left <= 0:
                raise AssertionError(f"not in {within_s} s of sync; the last answer was {answer}")

    def timeline(self, room_id: str, answer: Answer) -> list[dict[str, Any]]:
        """The timeline events of a joined room in a sync answer."""
        joined = answer.get("rooms", {}).get("join", {})
        return list(joined.get(room_id, {}).get("timeline", {}).get("events", []))

    @contextmanager
    def checking_events(self, types: Collection[str]) -> Iterator[None]:
        """Within the block only these event types' contents are checked, for tests that send strange content."""
        before, self.checked_events = self.checked_events, types
        try:
            yield
        finally:
            self.checked_events = before


def _or_empty(value: Any, options: Mapping[str, Any]) -> Any:
    return {} if value is None and "body" not in options else value


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _state_path(room_id: str, event_type: str, state_key: str) -> str:
    return f"/rooms/{quoted(room_id)}/state/{quoted(event_type)}/{quoted(state_key)}"


def _target(path: str, query: Mapping[str, Any] | None) -> str:
    if not path.startswith(("/_", "/.well-known")) and path != "/":
        path = CLIENT + path
    if not query:
        return path
    given = {name: _query_value(value) for name, value in query.items() if value is not None}
    return f"{path}{'&' if '?' in path else '?'}{urlencode(given, doseq=True)}"


def _query_value(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value
