"""Checks requests and answers against the OpenAPI data of the Matrix specification.

``load_specification()`` reads the data once per process; ``Specification.check_request`` and ``check_answer`` raise
``SpecificationMismatch`` naming the operation, the place inside the JSON and the value found there.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.support.openapi_files import REPOSITORY, Operation, Parameter, Reply, load, specification_directory
from tests.support.openapi_schema import Mistake, Schemas, show

# Client-server API, "Web Browser Clients".
CORS_HEADERS: Mapping[str, frozenset[str]] = {
    "access-control-allow-origin": frozenset({"*"}),
    "access-control-allow-methods": frozenset({"get", "post", "put", "delete", "options"}),
    "access-control-allow-headers": frozenset({"x-requested-with", "content-type", "authorization"}),
}
# Answers that any endpoint may give without its own data saying so, always as the standard error.
GENERIC_ERRORS = frozenset({400, 401, 403, 404, 405, 413, 414, 429, 500, 502, 503, 504})
# The earlier names of the same endpoints: "r0" was renamed to "v3" in v1.1, media also had "v1".
_RENAMED = re.compile(r"^/_matrix/(?:(client)/r0|(media)/(?:r0|v1))/")
_ERRCODE = re.compile(r"(?:M|[A-Z0-9]+(?:\.[A-Z0-9]+)+)_[A-Z0-9_]+\Z")
# Parameters of every authenticated endpoint (the application service API adds the last two).
COMMON_QUERY = frozenset({"access_token", "user_id", "device_id", "org.matrix.msc3202.device_id"})
# Event types whose content the server makes or must check; other content is whatever a client wished to say.
SERVER_CHECKED_EVENTS = frozenset(
    {
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.guest_access",
        "m.room.tombstone",
        "m.typing",
        "m.receipt",
        "m.presence",
        "m.fully_read",
        "m.push_rules",
        "m.tag",
    }
)


class SpecificationMismatch(AssertionError):
    """A request or an answer is not what the specification's data says."""

    def __init__(self, subject: str, mistakes: Collection[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join([subject, *(f"  {mistake}" for mistake in mistakes)]))


class Specification:
    """The operations of one matrix-spec checkout."""

    def __init__(self, operations: Iterable[Operation], events: Mapping[str, Mapping[str, Any]]) -> None:
        self.operations = tuple(operations)
        self.events = events
        self._schemas = Schemas()
        self._by_length: dict[int, list[Operation]] = {}
        for operation in self.operations:
            self._by_length.setdefault(len(operation.segments), []).append(operation)

    def find(self, method: str, path: str) -> list[Operation]:
        """The operations that serve ``path`` (percent-encoded, without query), most literal template first taken.

        More than one only where the data documents one URL twice (``/invite``, ``/events``). Empty when unknown.
        """
        return [operation for operation in self._at(path) if operation.method == method]

    def methods(self, path: str) -> frozenset[str]:
        """The documented methods of ``path``."""
        return frozenset(operation.method for operation in self._at(path))

    def check_request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> None:
        """Raises SpecificationMismatch unless the request is one that its operation documents.

        ``target`` is the path and query as sent. The body counts as JSON unless the operation takes other content.
        """
        path, _, query = target.partition("?")
        operations = self.find(method, path)
        if not operations:
            raise SpecificationMismatch(f"{method} {path}", [Mistake("request", "no such operation", path)])
        found = [self._request_mistakes(op, path, query, _lower(headers), body) for op in operations]
        _raise_best(operations, found, "request")

    def check_answer(
        self,
        method: str,
        target: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        with_token: bool = True,
        documented: bool = True,
        events: Collection[str] = SERVER_CHECKED_EVENTS,
    ) -> None:
        """Raises SpecificationMismatch unless the answer is one that the operation documents, or a standard error.

        ``documented=False`` is for paths outside the specification: only errors, content type and CORS are checked.
        ``events``: types of which the content, too, must fit the data's event schema.
        """
        path = target.partition("?")[0]
        low = _lower(headers)
        operations = self.find(method, path)
        if method == "OPTIONS":
            _raise_best([f"OPTIONS {path}"], [[*_cors_mistakes(path, low)]], "answer")
        elif operations and documented:
            found = [self._answer_mistakes(op, path, status, low, body, with_token, events) for op in operations]
            _raise_best(operations, found, f"answer {status}")
        else:
            mistakes = [*self._undocumented(method, path, status, low, body, documented)]
            _raise_best([f"{method} {path}"], [mistakes], f"answer {status}")

    def _at(self, path: str) -> list[Operation]:
        path = _RENAMED.sub(lambda match: f"/_matrix/{match[1] or match[2]}/v3/", path)
        segments = [unquote(segment) for segment in path.split("/")[1:]]
        matches = self._matching(segments)
        if not matches:
            # "When an empty string, the trailing slash on this endpoint is optional" (room state).
            matches = [op for op in self._matching([*segments, ""]) if op.segments[-1] == "{stateKey}"]
        if not matches:
            return []
        best = max(_literals(operation) for operation in matches)
        return [operation for operation in matches if _literals(operation) == best]

    def _matching(self, segments: list[str]) -> list[Operation]:
        return [op for op in self._by_length.get(len(segments), []) if _fits(op.segments, segments)]

    def _request_mistakes(
        self, operation: Operation, path: str, query: str, headers: Mapping[str, str], body: bytes | None
    ) -> list[Mistake]:
        return [
            *self._path_mistakes(operation, path),
            *self._query_mistakes(operation, query),
            *self._body_mistakes(operation, headers, body),
        ]

    def _path_mistakes(self, operation: Operation, path: str) -> Iterator[Mistake]:
        segments = [unquote(segment) for segment in path.split("/")[1:]]
        values = dict(zip(operation.segments, segments, strict=False))
        for parameter in operation.parameters:
            if parameter.place == "path" and "{" + parameter.name + "}" in values:
                value = _typed(parameter, [values["{" + parameter.name + "}"]])
                yield from self._schemas.mistakes(parameter.schema, value, f"path.{parameter.name}")

    def _query_mistakes(self, operation: Operation, query: str) -> Iterator[Mistake]:
        given: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            given.setdefault(name, []).append(value)
        known = {parameter.name: parameter for parameter in operation.parameters if parameter.place == "query"}
        free = [parameter for parameter in known.values() if parameter.schema.get("type") == "object"]
        for name, values in given.items():
            if name in known:
                yield from self._schemas.mistakes(known[name].schema, _typed(known[name], values), f"query.{name}")
            elif name not in COMMON_QUERY and not free:
                yield Mistake(f"query.{name}", "no such parameter", values[0])
        for parameter in known.values():
            if parameter.required and parameter.name not in given and parameter not in free:
                yield Mistake(f"query.{parameter.name}", "required, but not given")

    def _body_mistakes(self, operation: Operation, headers: Mapping[str, str], body: bytes | None) -> Iterator[Mistake]:
        if not body:
            if operation.body_required:
                yield Mistake("body", "required, but not given")
            return
        schema = operation.body.get("application/json")
        if schema is None:
            # Clients may send an empty object wherever nothing is asked for; other content is not described further.
            if not operation.body and body.strip() != b"{}":
                yield Mistake("body", "this operation takes none", body.decode("utf-8", "replace"))
            return
        if headers.get("content-type", "application/json").partition(";")[0] != "application/json":
            yield Mistake("headers.content-type", "must be application/json", headers["content-type"])
        try:
            value = parse_json(body)
        except ValueError as error:
            yield Mistake("body", f"is not JSON: {error}", body.decode("utf-8", "replace"))
            return
        yield from self._schemas.mistakes(schema, value, "body")

    def _answer_mistakes(
        self,
        operation: Operation,
        path: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        with_token: bool,
        events: Collection[str],
    ) -> list[Mistake]:
        mistakes = [*_cors_mistakes(path, headers)] if operation.api == "client-server" else []
        if operation.needs_token and not with_token and status < 400:
            mistakes.append(Mistake("status", "this operation needs an access token, and none was sent", status))
        reply = _documented_reply(operation, status)
        if reply is None and status not in GENERIC_ERRORS:
            documented = ", ".join(operation.replies)
            return [*mistakes, Mistake("status", f"not documented (only {documented} and standard errors)", status)]
        if reply is not None:
            mistakes += [
                Mistake(f"headers.{name.lower()}", "required, but not given")
                for name in reply.required_headers
                if name.lower() not in headers
            ]
        if status >= 400:
            return [*mistakes, *self._error_mistakes(reply, status, headers, body)]
        if reply is not None:
            mistakes += self._content_mistakes(reply, headers, body, events)
        return mistakes

    def _error_mistakes(
        self, reply: Reply | None, status: int, headers: Mapping[str, str], body: bytes
    ) -> Iterator[Mistake]:
        if reply is not None and status == 401 and b'"flows"' in body:
            # Interactive authentication: an answer of its own, with an error inside only after a failed stage.
            yield from self._content_mistakes(reply, headers, body, ())
            return
        standard = [*standard_error_mistakes(status, headers, body)]
        yield from standard
        if reply is not None and not standard:
            # The data describes one error per status; others with the same status lack the keys special to it.
            special = self._content_mistakes(reply, headers, body, ())
            yield from (mistake for mistake in special if mistake.keyword != "required")

    def _content_mistakes(
        self, reply: Reply, headers: Mapping[str, str], body: bytes, events: Collection[str]
    ) -> Iterator[Mistake]:
        if not reply.content:
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in reply.content and not reply.content.keys() & {"application/octet-stream", "*/*"}:
            yield Mistake("headers.content-type", f"must be {' or '.join(reply.content)}", headers.get("content-type"))
        schema = reply.content.get("application/json")
        if schema is None:
            return
        try:
            value = parse_json(body)
        except ValueError as error:
            yield Mistake("answer", f"is not JSON: {error}", body.decode("utf-8", "replace"))
            return
        yield from self._schemas.mistakes(schema, value, "answer")
        for where, event in _events_in(value, "answer"):
            if event["type"] in events and event["type"] in self.events:
                # The schemas describe whole events, but where an event stands decides which other keys it has.
                content = _content_schemas(self.events[event["type"]])
                for part in content:
                    yield from self._schemas.mistakes(part, event["content"], f"{where}.content")

    def _undocumented(
        self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes, documented: bool
    ) -> Iterator[Mistake]:
        if path.startswith("/_matrix/client"):
            yield from _cors_mistakes(path, headers)
        if status >= 400:
            yield from standard_error_mistakes(status, headers, body)
        if not documented or method == "HEAD" or not path.startswith("/_matrix/"):
            return
        # Client-server API, "Other error codes": M_UNRECOGNIZED with 404, or 405 for a known path's other methods.
        expected = 405 if self.methods(path) else 404
        if status != expected:
            yield Mistake("status", f"{method} is not in the specification here, so {expected} is due", status)
        elif b'"M_UNRECOGNIZED"' not in body:
            yield Mistake("answer.errcode", "must be M_UNRECOGNIZED", body.decode("utf-8", "replace"))


def load_specification() -> Specification:
    """The specification of this test run. Raises SpecificationMissing when there is no checkout."""
    return _load(specification_directory())


@functools.cache
def _load(directory: Path) -> Specification:
    data = load(directory, REPOSITORY / ".pytest_cache" / "matrix-spec")
    return Specification(data.operations, data.events)


def standard_error_mistakes(status: int, headers: Mapping[str, str], body: bytes) -> Iterator[Mistake]:
    """What differs from the client-server API's "Standard error response"; ``headers`` have lower-case names."""
    kind = headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        yield Mistake("headers.content-type", "a standard error is application/json", kind)
    try:
        value = parse_json(body)
    except ValueError as error:
        yield Mistake("answer", f"is not JSON: {error}", body.decode("utf-8", "replace"))
        return
    if not isinstance(value, dict):
        yield Mistake("answer", "a standard error is an object", value)
        return
    errcode = value.get("errcode")
    if not isinstance(errcode, str) or not _ERRCODE.match(errcode):
        yield Mistake("answer.errcode", "must be an error code such as M_FORBIDDEN", errcode)
    if not isinstance(value.get("error"), str) or not value["error"]:
        yield Mistake("answer.error", "must be a sentence", value.get("error"))
    if status == 429:
        yield from _retry_mistakes(headers)
        if errcode != "M_LIMIT_EXCEEDED":
            yield Mistake("answer.errcode", "429 goes with M_LIMIT_EXCEEDED", errcode)


def parse_json(body: bytes) -> Any:
    """JSON as Matrix allows it: UTF-8, no NaN or infinity, no key twice. Raises ValueError."""
    return json.loads(body.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"a key stands twice in an object: {show([key for key, _ in pairs])}")
    return result


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _literals(operation: Operation) -> int:
    return sum(not segment.startswith("{") for segment in operation.segments)


def _fits(template: tuple[str, ...], segments: list[str]) -> bool:
    for index, (part, segment) in enumerate(zip(template, segments, strict=True)):
        if part.startswith("{"):
            # Only a last parameter may be empty: the state key.
            if not segment and index != len(segments) - 1:
                return False
        elif part != segment:
            return False
    return True


def _typed(parameter: Parameter, values: list[str]) -> object:
    kind = parameter.schema.get("type")
    if kind == "array":
        return values
    text = values[-1]
    if kind == "integer" and re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    if kind == "number" and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _documented_reply(operation: Operation, status: int) -> Reply | None:
    return operation.replies.get(str(status)) or operation.replies.get(f"{status // 100}XX")


def _cors_mistakes(path: str, headers: Mapping[str, str]) -> Iterator[Mistake]:
    if not path.startswith(("/_matrix/client", "/_matrix/media", "/.well-known/matrix/client")):
        return
    for name, wanted in CORS_HEADERS.items():
        value = headers.get(name)
        present = {word.strip().lower() for word in (value or "").split(",")}
        if not wanted <= present:
            yield Mistake(f"headers.{name}", f"CORS asks for {', '.join(sorted(wanted - present))}", value)


def _retry_mistakes(headers: Mapping[str, str]) -> Iterator[Mistake]:
    # Client-server API, "Rate limiting": servers SHOULD include Retry-After.
    if not headers.get("retry-after", "").isdecimal():
        yield Mistake("headers.retry-after", "a rate limit names whole seconds", headers.get("retry-after"))


def _events_in(value: object, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _events_in(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        if isinstance(value.get("type"), str) and isinstance(value.get("content"), dict):
            unsigned = value.get("unsigned")
            if not (isinstance(unsigned, dict) and "redacted_because" in unsigned):
                yield where, value
        for key, item in value.items():
            if key not in ("content", "prev_content"):
                yield from _events_in(item, f"{where}.{key}")


def _content_schemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = schema.get("properties", {}).get("content")
    if isinstance(content, dict):
        yield content
    for part in schema.get("allOf", []):
        yield from _content_schemas(part)


def _raise_best(subjects: Iterable[object], found: list[list[Mistake]], part: str) -> None:
    subject, mistakes = min(zip(subjects, found, strict=True), key=lambda pair: len(pair[1]))
    if mistakes:
        raise SpecificationMismatch(f"{subject}: the {part} differs from the specification", mistakes)
