"""What can go wrong between asking another server and its answer."""

import enum
from collections.abc import Mapping
from typing import Any


class FailureKind(enum.Enum):
    """The class of a failure; its value is the label that metrics and `synctl` show."""

    DENIED = "denied"
    """This server's configuration forbids to talk to the other one."""
    ADDRESS = "address"
    """All addresses of the other server are in ranges to which connections are forbidden."""
    DNS = "dns"
    """The name could not be resolved."""
    WELL_KNOWN = "well_known"
    """Only in traces of the discovery: an unusable well-known file does not fail it."""
    CONNECT = "connect"
    """No address accepted a connection, or the connection was lost before the answer was complete."""
    TLS = "tls"
    """The certificate, its name, or the handshake was refused."""
    TIMEOUT = "timeout"
    """No complete answer in time."""
    HTTP = "http"
    """An answer with a status other than 2xx; `status`, `errcode` and `body` are set."""
    BAD_ANSWER = "bad_answer"
    """An answer that is no HTTP, no JSON, or not of the shape that the specification gives."""
    TOO_LARGE = "too_large"
    """The answer's body was larger than the caller allows."""
    BACKING_OFF = "backing_off"
    """Not asked: the other server did not answer lately."""
    OVERLOADED = "overloaded"
    """The other server answered 429; `retry_after_ms` may be set."""
    BUSY = "busy"
    """This server has too many requests under way; it says nothing about the other one."""


class RemoteError(Exception):
    """A request to another server that gave no usable answer.

    destination: the server name that was asked.
    status: the HTTP status, if there was an answer.
    errcode, error: from the answer's body, cut to a length that may be logged; `error` is a sentence in any case.
    body: the parsed error body, or {}.
    retry_after_ms: how long the other server wants to be left alone (429 and 503), or None.
    """

    def __init__(
        self,
        destination: str,
        kind: FailureKind,
        error: str,
        *,
        status: int | None = None,
        errcode: str | None = None,
        body: Mapping[str, Any] | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(destination, kind, error)
        self.destination = destination
        self.kind = kind
        self.error = error
        self.status = status
        self.errcode = errcode
        self.body: Mapping[str, Any] = body or {}
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        status = "" if self.status is None else f" {self.status}"
        errcode = "" if self.errcode is None else f" {self.errcode}"
        return f"{self.destination}: {self.kind.value}{status}{errcode}: {self.error}"
