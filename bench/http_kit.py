"""What a request costs before and after its endpoint: parsing, routing, the token, the answer's bytes.

    .venv/bin/python -m bench.http_kit

No socket takes part: a client's bytes go straight into the connection, and the answers are counted and dropped. Beside
the kit, which is built on it, stands Twisted's `HTTPChannel` with a `Request` that only writes the same answer.
"""

import time
from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock as Reactor
from twisted.web.http import HTTPChannel, Request
from zope.interface import implementer

from matrixd.http.kit.call import Call
from matrixd.http.kit.dispatch import Dispatcher
from matrixd.http.kit.metrics import RequestMetrics
from matrixd.http.kit.route import Route, Router
from matrixd.http.kit.server import MatrixSite, TrustedProxies
from matrixd.queries.authentication import Requester
from matrixd.util.clock import SystemClock

PATH = "/_matrix/client/v3/account/whoami"
# As a browser sends them.
WHOAMI = (
    f"GET {PATH} HTTP/1.1\r\nHost: localhost:8008\r\nAuthorization: Bearer mxt_abcdefghijklmnopqrstuvwxyz012345\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\nAccept: application/json\r\n"
    "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.5\r\nOrigin: https://app.example.org\r\n"
    "Connection: keep-alive\r\n\r\n"
).encode()
REQUESTS = 10_000
ROUNDS = 7


@implementer(IPushProducer)
class Nowhere:
    """A transport that counts what is written."""

    disconnecting = False

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def writeSequence(self, parts: list[bytes]) -> None:
        self.written += sum(map(len, parts))

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 4711)

    getHost = getPeer

    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


class Tokens:
    """Knows everybody."""

    _requester = Requester("@alice:localhost", 1, "DEVICE", 1, b"")

    async def requester(self, token: str) -> Requester:
        return self._requester


async def whoami(call: Call) -> object:
    """The endpoint."""
    return {"user_id": call.requester.user_id, "device_id": call.requester.device_id, "is_guest": False}


class PlainRequest(Request):
    """The least that a request on Twisted's own channel can be."""

    def process(self) -> None:
        body = b'{"user_id":"@alice:localhost","device_id":"DEVICE","is_guest":false}'
        headers = self.responseHeaders
        headers.setRawHeaders(b"Access-Control-Allow-Origin", [b"*"])
        headers.setRawHeaders(b"Access-Control-Allow-Methods", [b"GET, POST, PUT, DELETE, OPTIONS"])
        headers.setRawHeaders(b"Access-Control-Allow-Headers", [b"X-Requested-With, Content-Type, Authorization"])
        headers.setRawHeaders(b"Content-Type", [b"application/json"])
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
        self.write(body)
        self.finish()


def ours(metrics: RequestMetrics | None) -> Callable[[bytes], None]:
    """Takes bytes as a connection of the kit."""
    router = Router([Route("GET", PATH, whoami, spec="get_matrixclientv3accountwhoami")])
    dispatcher = Dispatcher(router, Tokens(), {}, SystemClock(), lambda *seen: None, metrics)  # type: ignore[arg-type]
    connection = MatrixSite(dispatcher, TrustedProxies((), unix=False), Reactor()).buildProtocol(None)
    assert connection is not None
    connection.makeConnection(Nowhere())
    return connection.dataReceived


def twisteds() -> Callable[[bytes], None]:
    """Takes bytes as a connection of Twisted's."""
    channel = HTTPChannel()
    channel.requestFactory = PlainRequest
    channel.timeOut = 60
    channel.callLater = Reactor().callLater
    channel.makeConnection(Nowhere())
    return channel.dataReceived


def microseconds(*subjects: Callable[[bytes], None]) -> list[float]:
    """CPU time of a request for each; the best of some rounds in turn, for the machine has other things to do."""
    best = [float("inf")] * len(subjects)
    for _ in range(ROUNDS):
        for index, take in enumerate(subjects):
            started = time.process_time()
            for _ in range(REQUESTS):
                take(WHOAMI)
            best[index] = min(best[index], (time.process_time() - started) / REQUESTS * 1e6)
    return best


def main() -> None:
    """Measure and print."""
    kit, counted, plain = microseconds(ours(None), ours(RequestMetrics()), twisteds())
    print(f"twisted.web, doing nothing  {plain:6.1f} µs per request")
    print(f"matrixd's kit               {kit:6.1f} µs: {kit / plain:.2f} times that")
    print(f"  with metrics              {counted:6.1f} µs: {counted - kit:+.1f} µs")


if __name__ == "__main__":
    main()
