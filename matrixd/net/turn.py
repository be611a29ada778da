"""A client of TURN servers that makes an allocation and gives it back: what a caller's client does first. RFC 8656."""

import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from matrixd.core.identifiers import is_server_name, parse_server_name
from matrixd.net import stun
from matrixd.net.stun import Attribute, Credentials, Endpoint, Kind, Message, Method, NotStun
from matrixd.util.timer import Scheduled

#: For one answer over TCP or TLS, in seconds.
_ANSWER_S: Final = 8.0
#: When a request over UDP is sent again, in seconds after the last time (RFC 8489, section 6.2.1, cut short).
_RESENT_AFTER_S: Final = (0.5, 1.0, 2.0, 4.0)

_UNAUTHORIZED, _STALE_NONCE = 401, 438


class TurnError(Exception):
    """The TURN server does not do what it should; the text is a sentence."""


class NoAnswer(TurnError):
    """Nothing came back."""


class Refused(TurnError):
    """The server answered with an error."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"it answers {code} {reason}".rstrip())
        self.code = code


class WrongCredentials(Refused):
    """The server does not take the user name and password."""


@dataclass(frozen=True, slots=True)
class TurnUri:
    """A URI of RFC 7064 or RFC 7065. transport: `udp` or `tcp`; is_relay: `turn`, not only `stun`."""

    text: str
    is_relay: bool
    is_tls: bool
    host: str
    port: int
    transport: str

    @staticmethod
    def parse(text: str) -> "TurnUri":
        """Reads it. Raises ValueError with what is wrong."""
        scheme, _, rest = text.partition(":")
        place, _, query = rest.partition("?")
        if scheme not in ("stun", "stuns", "turn", "turns"):
            raise ValueError("it does not begin with turn:, turns:, stun: or stuns:")
        if not is_server_name(place):
            raise ValueError("there is no host behind the colon (it is written without //)")
        address = parse_server_name(place)
        is_tls = scheme.endswith("s")
        transport = parse_qs(query).get("transport", ["tcp" if is_tls else "udp"])[-1]
        if transport not in ("udp", "tcp"):
            raise ValueError(f"the transport is {transport}, not udp or tcp")
        port = address.port or (5349 if is_tls else 3478)
        return TurnUri(text, scheme.startswith("turn"), is_tls, address.host, port, transport)


@dataclass(frozen=True, slots=True)
class Allocation:
    """What came of an allocation that was made and given back.

    relayed: the address through which others would have reached the caller. mapped: the caller's, as the server sees
    it. needs_credentials: False if the server gives relays to anybody. is_released: it took the relay back.
    """

    relayed: Endpoint
    mapped: Endpoint | None
    lifetime_s: int
    software: str | None
    needs_credentials: bool
    is_released: bool


class Exchange:
    """Requests and answers over one link; one request at a time."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: tuple[bytes, Deferred[Message]] | None = None
        self._lost: TurnError | None = None

    async def ask(self, request: bytes) -> Message:
        """The answer to a request. Raises NoAnswer and TurnError."""
        if self._lost is not None:
            raise self._lost
        answer: Deferred[Message] = Deferred()
        self._waiting = (request[8:20], answer)
        try:
            self._send(request)
            return await answer.addTimeout(self._patience_s, self._reactor)
        except (CancelledError, DeferredTimeout):
            raise NoAnswer(self._silence) from None
        finally:
            self._waiting = None
            self._asked()

    _patience_s = _ANSWER_S
    _silence = f"no answer within {_ANSWER_S:g} seconds"

    def _send(self, request: bytes) -> None:
        raise NotImplementedError

    def _asked(self) -> None:
        """A request has its answer, or none will come."""

    def _received(self, data: bytes) -> None:
        try:
            message = stun.decode(data)
        except NotStun as problem:
            self._fail(TurnError(f"what it answers is not STUN: {problem}"))
            return
        if self._waiting is not None and message.transaction_id == self._waiting[0] and message.kind >= Kind.SUCCESS:
            answer = self._waiting[1]
            self._waiting = None
            answer.callback(message)

    def _fail(self, error: TurnError) -> None:
        # What came first is the reason of what follows.
        self._lost = self._lost or error
        if self._waiting is not None:
            answer = self._waiting[1]
            self._waiting = None
            answer.errback(self._lost)


class DatagramExchange(DatagramProtocol, Exchange):
    """Over UDP: a request is sent again until there is an answer."""

    _patience_s = sum(_RESENT_AFTER_S)
    _silence = f"no answer to {len(_RESENT_AFTER_S)} packets within {_patience_s:g} seconds"

    def __init__(self, reactor: Any, address: str, port: int) -> None:
        Exchange.__init__(self, reactor)
        self._address = (address, port)
        self._again: Scheduled | None = None

    def startProtocol(self) -> None:
        """Called by Twisted. A connected socket learns that nobody listens."""
        transport: Any = self.transport
        transport.connect(*self._address)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Called by Twisted."""
        self._received(datagram)

    def connectionRefused(self) -> None:
        """Called by Twisted."""
        self._fail(NoAnswer("nothing listens on the port"))

    def stopProtocol(self) -> None:
        """Called by Twisted, which closes a socket that has an error: the system was told that nobody listens."""
        self._fail(NoAnswer("nothing listens on the port"))

    def _send(self, request: bytes) -> None:
        self._send_again(request, 0)

    def _send_again(self, request: bytes, count: int) -> None:
        transport: Any = self.transport
        try:
            transport.write(request)
        except OSError as error:
            self._fail(NoAnswer(f"it cannot be sent to: {error.strerror}"))
            return
        if self._waiting is not None and count + 1 < len(_RESENT_AFTER_S):
            self._again = self._reactor.callLater(_RESENT_AFTER_S[count], self._send_again, request, count + 1)

    def _asked(self) -> None:
        again: Any = self._again
        if again is not None and again.active():
            again.cancel()
        self._again = None


@implementer(IHandshakeListener)
class StreamExchange(Protocol, Exchange):
    """Over TCP or TLS. `ready` fires when TLS is established, and fails if it is not."""

    transport: Any

    def __init__(self, reactor: Any, ready: "Deferred[None] | None" = None) -> None:
        Exchange.__init__(self, reactor)
        self._ready = ready
        self._read = b""

    def handshakeCompleted(self) -> None:
        """Called by Twisted."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.callback(None)

    def _send(self, request: bytes) -> None:
        self.transport.write(request)

    def dataReceived(self, data: bytes) -> None:
        """Called by Twisted."""
        self._read += data
        try:
            while (length := stun.whole_length(self._read)) is not None and len(self._read) >= length:
                message, self._read = self._read[:length], self._read[length:]
                self._received(message)
        except NotStun as problem:
            self._fail(TurnError(str(problem)))
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called by Twisted."""
        how = "it closed the connection" if isinstance(reason.value, ConnectionDone) else "the connection was lost"
        self._fail(NoAnswer(how))
        ready, self._ready = self._ready, None
        if ready is not None and not ready.called:
            ready.errback(reason)


async def look_up(exchange: Exchange) -> Endpoint:
    """The client's address as the server sees it (STUN). Raises TurnError."""
    answer = await exchange.ask(stun.request(Method.BINDING, _transaction_id()))
    _check(answer)
    try:
        mapped = answer.mapped
    except NotStun as problem:
        raise TurnError(f"its answer cannot be read: {problem}") from None
    if mapped is None:
        raise TurnError("its answer has no address")
    return mapped


async def allocate_and_release(exchange: Exchange, username: str, password: str) -> Allocation:
    """Make an allocation with long-term credentials, and give it back. Raises TurnError."""
    try:
        return await _allocate_and_release(exchange, username, password)
    except NotStun as problem:
        raise TurnError(f"its answer cannot be read: {problem}") from None


async def _allocate_and_release(exchange: Exchange, username: str, password: str) -> Allocation:
    answer = await exchange.ask(stun.request(Method.ALLOCATE, _transaction_id()))
    credentials = None
    if answer.kind is Kind.ERROR:
        credentials = _challenged(answer, username, password)
        answer = await exchange.ask(stun.request(Method.ALLOCATE, _transaction_id(), credentials))
        if answer.kind is Kind.ERROR and (answer.error or (0, ""))[0] == _STALE_NONCE:
            credentials = _challenged(answer, username, password)
            answer = await exchange.ask(stun.request(Method.ALLOCATE, _transaction_id(), credentials))
    _check(answer)
    if credentials is not None and not answer.fits(credentials.key):
        raise TurnError("its answer is not signed with the password: who answers does not know it")
    relayed = answer.relayed
    if relayed is None:
        raise TurnError("its answer has no relayed address")
    return Allocation(
        relayed,
        answer.mapped,
        answer.lifetime_s or 0,
        answer.text(Attribute.SOFTWARE),
        credentials is not None,
        await _release(exchange, credentials),
    )


async def _release(exchange: Exchange, credentials: Credentials | None) -> bool:
    answer = await exchange.ask(stun.request(Method.REFRESH, _transaction_id(), credentials, lifetime=0))
    return answer.kind is Kind.SUCCESS


def _challenged(answer: Message, username: str, password: str) -> Credentials:
    """The credentials for the realm and nonce of a 401 (or 438). Raises Refused for any other error."""
    code, reason = answer.error or (0, "without a code")
    realm, nonce = answer.text(Attribute.REALM), answer.attributes.get(Attribute.NONCE)
    if code not in (_UNAUTHORIZED, _STALE_NONCE) or realm is None or nonce is None:
        raise Refused(code, reason)
    return Credentials(username, realm, nonce, password)


def _check(answer: Message) -> None:
    if answer.kind is not Kind.ERROR:
        return
    code, reason = answer.error or (0, "without a code")
    raise (WrongCredentials if code == _UNAUTHORIZED else Refused)(code, reason)


def _transaction_id() -> bytes:
    return secrets.token_bytes(stun.TRANSACTION_BYTES)
