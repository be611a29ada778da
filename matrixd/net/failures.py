"""Which class a failure on the way to another server is of, in a sentence that an admin can do something with."""

from OpenSSL import SSL
from twisted.internet import error as reasons
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.web._newclient import RequestNotSent
from twisted.web.client import ResponseFailed

from matrixd.net.errors import FailureKind
from matrixd.net.http_connection import AnswerTooLarge, causes

#: What Twisted and OpenSSL raise when the network, or the other server, does not do what it should.
NETWORK_FAILURES = (
    AnswerTooLarge,
    DeferredTimeout,
    OSError,
    RequestNotSent,
    ResponseFailed,
    SSL.Error,
    reasons.ConnectError,
    reasons.ConnectionClosed,
)

_SENTENCES: dict[type[Exception], str] = {
    reasons.ConnectionRefusedError: "the connection is refused: nothing listens on the port",
    reasons.NoRouteError: "there is no route to the address",
    reasons.TimeoutError: "the address does not answer",
    reasons.ConnectionDone: "the other side closed the connection",
    reasons.ConnectionLost: "the connection was lost",
    reasons.ConnectionAborted: "the connection was closed",
}
_MAX_LENGTH = 300


def explain(error: BaseException) -> tuple[FailureKind, str]:
    """The kind of what was raised while connecting, or while a request was under way."""
    if isinstance(error, AnswerTooLarge):
        return FailureKind.TOO_LARGE, f"the answer is too large: {error}"
    if isinstance(error, ResponseFailed):
        return _explain_answer(error)
    if isinstance(error, SSL.Error):
        return FailureKind.TLS, f"the TLS handshake failed: {_words(error)}"
    for kind, sentence in _SENTENCES.items():
        if isinstance(error, kind):
            return FailureKind.CONNECT, sentence
    return FailureKind.CONNECT, f"{type(error).__name__}: {error}"[:_MAX_LENGTH]


def _explain_answer(error: ResponseFailed) -> tuple[FailureKind, str]:
    for cause in causes(error):
        if isinstance(cause, SSL.Error):
            return FailureKind.TLS, f"TLS failed: {_words(cause)}"
    for cause in causes(error):
        if isinstance(cause, reasons.ConnectionLost | reasons.ConnectionDone | reasons.ConnectionAborted):
            return FailureKind.CONNECT, f"{explain(cause)[1]} before the answer was complete"
    # What is left are the parser's complaints; they quote the other server.
    return FailureKind.BAD_ANSWER, "what came is not valid HTTP"


def _words(error: SSL.Error) -> str:
    """OpenSSL's reasons: each of its errors is a tuple (library, function, reason)."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = [entry[-1] for entry in queue if entry and entry[-1]]
    return ", ".join(words)[:_MAX_LENGTH] or "the other side ended it"
