"""Another homeserver, as far as a test wants one.

It speaks TLS, publishes its keys, answers what it was told to, remembers what it was asked, and sends signed requests.

Its name is ``localhost:PORT``; the server under test finds it there with the options of ``remote_options``.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlencode

from matrixd.core import canonical_json
from matrixd.core.builder import build_event
from matrixd.core.errors import RuleViolation
from matrixd.core.event import Event
from matrixd.core.request_signing import RequestSignature, authorization, parse_authorization
from matrixd.core.server_keys import published_keys
from matrixd.core.signing import SigningKey, VerifyKey, sign_json
from matrixd.core.versions import ROOM_VERSIONS
from tests.support.authority import Authority, Certificate
from tests.support.client import UnexpectedStatus
from tests.support.exchange import Answer, KeepAlive
from tests.support.openapi import Specification, SpecificationMismatch, load_specification
from tests.support.server import Installation

HOUR_MS = 60 * 60 * 1000
WAIT_S = 15.0
_JSON = "application/json"


def remote_options(authority: Authority) -> dict[str, Any]:
    """Options with which a server under test speaks to servers on loopback that ``authority`` vouches for."""
    return {
        "federation_custom_ca_list": [str(authority.root)],
        "ip_range_whitelist": ["127.0.0.0/8", "::1/128"],
        "trusted_key_servers": [],
    }


@dataclass(frozen=True)
class Received:
    """A request that has come."""

    method: str
    #: The path and the query as they were sent.
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: The X-Matrix header; None without one. Checked where the sender is known (``RemoteServer.knows``).
    signature: RequestSignature | None
    #: The decoded segments that stand for ``{name}`` in the template of the answer that was taken.
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path without the query, as it was sent."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        """The query parameters."""
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def json(self) -> Any:
        """The body; None without one."""
        return canonical_json.decode(self.body) if self.body else None


@dataclass(frozen=True)
class Reply:
    """An answer with all that can be said about it.

    ``body``: what serialises to JSON, bytes as they are, or an iterator of bytes, each sent as it comes (chunked).
    ``delay_s`` passes before it. With ``cut`` the connection ends without an answer.
    """

    status: int = 200
    body: Any = field(default_factory=dict)
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False


#: What ``on`` takes: an answer, or who makes it. A dict or a list is a 200 with JSON.
Answering = Reply | Mapping[str, Any] | Sequence[Any] | Callable[[Received], Any]


def error(status: int, errcode: str, sentence: str = "So the test wants it.", **more: Any) -> Reply:
    """A standard error as an answer."""
    return Reply(status, {"errcode": errcode, "error": sentence, **more})


class RemoteServer:
    """One such server. To be started before its name is used, and stopped at the end; a ``with`` block does both.

    Every request that comes is checked against the specification's data; ``faults`` has what was wrong, and ``stop``
    raises the first of them unless ``lenient``.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        host: str = "localhost",
        certificate: Certificate | None = None,
        key: SigningKey | None = None,
        lenient: bool = False,
        specification: Specification | None = None,
    ) -> None:
        """``host``: another name or address of loopback. ``certificate``: another than a right one."""
        self.key = key or new_key("a_1")
        #: Earlier keys, with their ``expired_ts``.
        self.old_keys: list[VerifyKey] = []
        #: How far in the future its keys are valid, as it says.
        self.keys_valid_ms = 24 * HOUR_MS
        self.requests: list[Received] = []
        self.faults: list[Exception] = []
        self.lenient = lenient
        self._specification = specification or load_specification()
        self._is_stopped = False
        self._senders: dict[str, VerifyKey] = {}
        self._answers: list[tuple[str, re.Pattern[str], Answering]] = []
        self._arrival = threading.Condition()
        self._connections: dict[str, KeepAlive] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.remote = self
        self.port = int(self._server.server_address[1])
        self.name = f"{host}:{self.port}"
        made = certificate or authority.issue(host.strip("[]"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.chain, made.key)
        # the handshake is the business of the connection's own thread
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._answer_by_itself()

    # ---- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> RemoteServer:
        """Takes connections from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Takes no more connections, and ends those that are open. Raises the first fault of what had come."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections()
        for connection in self._connections.values():
            connection.close()
        if self.faults and not self.lenient:
            raise self.faults[0]

    def __enter__(self) -> RemoteServer:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # ---- what it answers ---------------------------------------------------------------------------------------------

    def on(self, method: str, template: str, answer: Answering) -> None:
        """Answers a request from now on; ``{name}`` in the template stands for one segment. The newest counts first.

        A function gets the ``Received`` and returns a ``Reply``, a dict or a list. It runs in the connection's thread.
        """
        self._answers.insert(0, (method, _pattern(template), answer))

    def _answer_by_itself(self) -> None:
        self.on("GET", "/_matrix/key/v2/server", lambda received: self.published_keys())
        self.on("GET", "/_matrix/key/v2/server/{keyId}", lambda received: self.published_keys())
        self.on("GET", "/_matrix/federation/v1/version", {"server": {"name": "remote", "version": "1"}})
        self.on("PUT", "/_matrix/federation/v1/send/{txnId}", {"pdus": {}})

    def published_keys(self) -> dict[str, Any]:
        """What it says of its keys."""
        return published_keys(self.name, [self.key], self.old_keys, now_ms() + self.keys_valid_ms)

    def change_key(self, version: str) -> None:
        """Signs with a new key from now on; the one before is an old one."""
        old = self.key.verify_key
        self.old_keys.append(VerifyKey(old.key_id, old.public, expired_ts=now_ms()))
        self.key = new_key(version)

    # ---- what has come -----------------------------------------------------------------------------------------------

    def received(self, method: str, template: str) -> list[Received]:
        """The requests so far that fit, in the order in which they came."""
        pattern = _pattern(template)
        return [each for each in list(self.requests) if each.method == method and pattern.fullmatch(each.path)]

    def wait_for(self, method: str, template: str, count: int = 1, within_s: float = WAIT_S) -> list[Received]:
        """Waits until so many requests have come that fit, and returns them. Raises AssertionError if they do not."""
        deadline = time.monotonic() + within_s
        with self._arrival:
            while len(found := self.received(method, template)) < count:
                if not self._arrival.wait(max(0.0, deadline - time.monotonic())):
                    came = [f"{each.method} {each.target}" for each in self.requests]
                    raise AssertionError(f"{len(found)} of {count} {method} {template} within {within_s} s: {came}")
        return found

    def pdus(self) -> list[dict[str, Any]]:
        """The events in the transactions that have come."""
        sent = self.received("PUT", "/_matrix/federation/v1/send/{txnId}")
        return [pdu for each in sent for pdu in each.json.get("pdus", ())]

    def edus(self, edu_type: str | None = None) -> list[dict[str, Any]]:
        """The EDUs in the transactions that have come."""
        sent = self.received("PUT", "/_matrix/federation/v1/send/{txnId}")
        edus = [edu for each in sent for edu in each.json.get("edus", ())]
        return [edu for edu in edus if edu_type in (None, edu["edu_type"])]

    def knows(self, server: Installation) -> None:
        """Checks the signatures and the destination of what comes from this server."""
        path = server.configuration["signing_key_path"]
        with open(path, encoding="ascii") as file:
            key = SigningKey.from_line(file.readline())
        self._senders[server.server_name] = key.verify_key

    # ---- what it sends -----------------------------------------------------------------------------------------------

    def request(
        self,
        server: Installation,
        method: str,
        path: str,
        content: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        expect: int | Collection[int] | None = 200,
        validate: bool = True,
        check_answer: bool = True,
        destination: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """Sends a signed request to a server under test, and checks both sides of it.

        ``path`` is percent-encoded already. ``content``: the JSON of the body; None sends none. ``expect``: the status,
        several, or None for any. ``validate=False`` sends a wrong request. ``headers`` go over those of a right one: an
        ``Authorization`` of the test's own is possible, or ``""`` to leave it away. ``body`` is sent in the place of
        the canonical JSON of ``content``, which is what is signed.
        """
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        canonical = None if content is None else canonical_json.encode(content)
        signed = authorization(method, target, self.name, destination or server.server_name, self.key, canonical)
        body = canonical if body is None else body
        sent = {"Authorization": signed.decode(), "Content-Type": _JSON, **(headers or {})}
        sent = {name: value for name, value in sent.items() if value}
        if validate:
            self._specification.check_request(method, target, sent, canonical)
        connection = self._connections.setdefault(server.base_url, KeepAlive(server.base_url))
        answer = connection.exchange(method, target, sent, body, timeout)
        expected = {expect} if isinstance(expect, int) else expect
        if expected is not None and answer.status not in expected:
            raise UnexpectedStatus(answer, expected)
        if check_answer:
            self._specification.check_answer(method, target, answer.status, answer.headers, answer.body)
        return answer

    def send(
        self,
        server: Installation,
        pdus: Sequence[Event | Mapping[str, Any]] = (),
        edus: Sequence[Mapping[str, Any]] = (),
        *,
        txn_id: str | None = None,
        **options: Any,
    ) -> Answer:
        """Sends a transaction; the options are those of ``request``."""
        content: dict[str, Any] = {
            "origin": self.name,
            "origin_server_ts": now_ms(),
            "pdus": [pdu.pdu if isinstance(pdu, Event) else pdu for pdu in pdus],
        }
        if edus:
            content["edus"] = list(edus)
        path = f"/_matrix/federation/v1/send/{txn_id or time.time_ns()}"
        return self.request(server, "PUT", path, content, **options)

    # ---- what it signs -----------------------------------------------------------------------------------------------

    def user(self, localpart: str) -> str:
        """The ID of a user of this server."""
        return f"@{localpart}:{self.name}"

    def sign(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The object with this server's signature."""
        return sign_json(value, self.name, self.key)

    def event(
        self,
        room_version: str,
        room_id: str | None,
        event_type: str,
        sender: str,
        content: Mapping[str, Any],
        *,
        prev_events: Sequence[str | Event],
        auth_events: Sequence[str | Event],
        depth: int,
        state_key: str | None = None,
        redacts: str | None = None,
        event_id: str | None = None,
        origin_server_ts: int | None = None,
    ) -> Event:
        """An event with hashes and this server's signature. A ``sender`` without @ is a user of this server."""
        return build_event(
            ROOM_VERSIONS[room_version],
            room_id=room_id,
            event_type=event_type,
            sender=sender if sender.startswith("@") else self.user(sender),
            content=content,
            prev_events=prev_events,
            auth_events=auth_events,
            depth=depth,
            origin_server_ts=now_ms() if origin_server_ts is None else origin_server_ts,
            server_name=self.name,
            signing_key=self.key,
            state_key=state_key,
            redacts=redacts,
            event_id=event_id,
        )

    # ---- for the connections -----------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The answer to a request that has come."""
        path = target.partition("?")[0]
        found = next(((m, a) for verb, p, a in self._answers if verb == method and (m := p.fullmatch(path))), None)
        parameters = {} if found is None else {name: unquote(value) for name, value in found[0].groupdict().items()}
        refusal, received = self._accept(method, target, headers, body, parameters)
        with self._arrival:
            self.requests.append(received)
            self._arrival.notify_all()
        if refusal is not None:
            return refusal
        if found is None:
            return error(404, "M_UNRECOGNIZED", f"{method} {path} is not answered here.")
        given: Any = found[1]
        given = given(received) if callable(given) else given
        return given if isinstance(given, Reply) else Reply(body=given)

    def _accept(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, parameters: Mapping[str, str]
    ) -> tuple[Reply | None, Received]:
        """The request, and an answer that refuses it if it is wrong, which is also noted as a fault."""
        signature = None
        try:
            if "authorization" in headers:
                signature = parse_authorization(headers["authorization"].encode("latin-1"))
                self._check_signature(signature, method, target, body)
            if self._specification.find(method, target.partition("?")[0]):
                self._specification.check_request(method, target, headers, body or None)
        except (ValueError, RuleViolation, AssertionError) as fault:
            self.faults.append(fault)
            status = 400 if isinstance(fault, SpecificationMismatch) else 401
            refusal = error(status, "M_UNKNOWN" if status == 400 else "M_UNAUTHORIZED", str(fault))
            return refusal, Received(method, target, headers, body, signature, parameters)
        return None, Received(method, target, headers, body, signature, parameters)

    def _check_signature(self, signature: RequestSignature, method: str, target: str, body: bytes) -> None:
        key = self._senders.get(signature.origin)
        assert signature.destination == self.name, f"the destination is {signature.destination}, not {self.name}"
        if key is not None:
            assert signature.key_id == key.key_id, f"signed with {signature.key_id}, not with {key.key_id}"
            assert signature.fits(method, target, body, key), f"the signature of {method} {target} is wrong"


#: What the fixture ``new_remote`` is.
NewRemote = Callable[..., RemoteServer]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100
    remote: RemoteServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.open: set[ssl.SSLSocket] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go away in the middle, and refuse certificates."""

    def end_connections(self) -> None:
        for connection in list(self.open):
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    # an answer is one packet where it can be
    wbufsize = 64 * 1024
    server: Any

    def setup(self) -> None:
        self.server.open.add(self.request)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.server.open.discard(self.request)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        remote = cast(RemoteServer, self.server.remote)
        try:
            reply = remote.answer(self.command, self.path, headers, body)
        except Exception as fault:  # a test's own function: the test shall see it, not only the server under test
            remote.faults.append(fault)
            reply = error(500, "M_UNKNOWN", repr(fault))
        if reply.delay_s:
            time.sleep(reply.delay_s)
        if reply.cut:
            self.close_connection = True
            return
        self._write(reply)

    do_GET = do_PUT = do_POST = do_DELETE = _answer

    def _write(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.content_type, **reply.headers}.items():
            self.send_header(name, value)
        pieces = _pieces(reply.body)
        if isinstance(pieces, bytes):
            self.send_header("Content-Length", str(len(pieces)))
            self.end_headers()
            self.wfile.write(pieces)
            self.wfile.flush()
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write nothing to the test's output."""


def _pieces(body: Any) -> bytes | Iterable[bytes]:
    if isinstance(body, bytes):
        return body
    if isinstance(body, Mapping | list | tuple | str | int | None):
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return cast(Iterable[bytes], body)


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile("".join(f"(?P<{part}>[^/]*)" if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def new_key(version: str) -> SigningKey:
    """A signing key that no other server has."""
    return SigningKey.from_seed(version, os.urandom(32))


def now_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
