"""The errors of Matrix: those that a client is answered with, and those that say which rule an event broke."""

from __future__ import annotations

from enum import Enum


class MatrixError(Exception):
    """An error that a client or another server is answered with as it is.

    `status` is the HTTP status, `errcode` a code of the specification (`M_FORBIDDEN`, …), `error` a sentence for a
    human that names what was wrong. `extra` are further members of the JSON body (`retry_after_ms`, `soft_logout`, …).

    Source: client-server API, "Standard error response".
    """

    def __init__(self, status: int, errcode: str, error: str, **extra: object) -> None:
        super().__init__(status, errcode, error)
        self.status = status
        self.errcode = errcode
        self.error = error
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.status} {self.errcode}: {self.error}"

    def body(self) -> dict[str, object]:
        """The JSON body of the answer."""
        return {**self.extra, "errcode": self.errcode, "error": self.error}


class RuleViolation(Exception):
    """An event, or another signed object, breaks a rule of Matrix.

    `rule` is the member of an enum that names the rule; `str(e)` is a sentence that says what was wrong. Whoever
    catches it decides what follows: an event from another server is dropped or rejected, a client gets a MatrixError.
    """

    def __init__(self, rule: Enum, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class EventRule(Enum):
    """What an event must obey before authorisation is even asked: its form, its sizes, its hashes, its signatures."""

    FORMAT = "format"  # a field is missing, or has the wrong type or grammar
    SIZE = "size"  # larger than the size limits allow
    CANONICAL_JSON = "canonical_json"  # holds what canonical JSON cannot express
    HASH = "hash"  # the content hash is missing or unreadable
    SIGNATURE = "signature"  # a server that must have signed the event has not


class InvalidEvent(RuleViolation):
    """The event is malformed: a server that receives it drops it.

    Source: server-server API, "Checks performed on receipt of a PDU", first step.
    """

    rule: EventRule


class EventTooLarge(InvalidEvent):
    """The event, or one of its identifiers, is over the size limits (client-server API, "Size limits")."""

    def __init__(self, message: str) -> None:
        super().__init__(EventRule.SIZE, message)


class SignatureInvalid(RuleViolation):
    """A signature is missing, cannot be read, or does not fit (appendices, "Checking for a Signature")."""

    def __init__(self, message: str) -> None:
        super().__init__(EventRule.SIGNATURE, message)


class NotCanonical(RuleViolation, ValueError):
    """A value has no canonical JSON (appendices, "Canonical JSON")."""

    def __init__(self, message: str) -> None:
        super().__init__(EventRule.CANONICAL_JSON, message)
