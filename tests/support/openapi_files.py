"""Reads the OpenAPI data of a matrix-spec checkout into operations with every ``$ref`` resolved.

The checkout is found by the environment variable MATRIX_SPEC, by default ``shared/spec`` beside the repository.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE_FORMAT = 1
METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})
# Keys that may stand beside a "$ref" without changing what it allows.
ANNOTATIONS = frozenset({"description", "title", "example", "examples", "default", "deprecated", "readOnly"})

Schema = Mapping[str, Any]


class SpecificationMissing(Exception):
    """No matrix-spec checkout at the expected place; the text says where it was looked for."""


@dataclass(frozen=True)
class Parameter:
    """A documented query or path parameter."""

    name: str
    place: str
    required: bool
    schema: Schema


@dataclass(frozen=True)
class Reply:
    """A documented response: content type -> schema (empty when the data only has a description)."""

    content: Mapping[str, Schema]
    required_headers: tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """One method of one path of one file of the data."""

    api: str
    file: str
    name: str
    method: str
    path: str
    segments: tuple[str, ...] = field(repr=False)
    parameters: tuple[Parameter, ...] = field(repr=False)
    body: Mapping[str, Schema] = field(repr=False)
    body_required: bool = field(repr=False)
    replies: Mapping[str, Reply] = field(repr=False)
    needs_token: bool = field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path} ({self.name}, {self.file})"


@dataclass(frozen=True)
class SpecificationData:
    """All operations, and the schemas of well-known event types by type."""

    operations: tuple[Operation, ...]
    events: Mapping[str, Schema]


def specification_directory() -> Path:
    """The matrix-spec checkout. Raises SpecificationMissing with a sentence that says how to name one."""
    named = os.environ.get("MATRIX_SPEC")
    directory = Path(named) if named else REPOSITORY.parent / "shared" / "spec"
    if not (directory / "data" / "api" / "client-server").is_dir():
        raise SpecificationMissing(
            f"no matrix-spec checkout at {directory}: clone https://github.com/matrix-org/matrix-spec (tag v1.19) "
            "and set MATRIX_SPEC to its path"
        )
    return directory


def load(directory: Path, cache_directory: Path | None = None) -> SpecificationData:
    """Reads the checkout, or the pickle of an earlier reading while no file under ``data`` has changed since."""
    files = sorted(
        [*(directory / "data" / "api").glob("**/*.yaml"), *(directory / "data" / "event-schemas").glob("**/*.yaml")]
    )
    cache = cache_directory / f"matrix-spec-{_fingerprint(files)}.pickle" if cache_directory else None
    if cache is not None and cache.exists():
        data = pickle.loads(cache.read_bytes())
        assert isinstance(data, SpecificationData)
        return data
    reader = _Reader(directory)
    data = SpecificationData(tuple(reader.operations()), dict(reader.events()))
    if cache is not None:
        _store(cache, pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL))
    return data


def _fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256(str(CACHE_FORMAT).encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file}|{status.st_mtime_ns}|{status.st_size}\n".encode())
    return digest.hexdigest()[:20]


def _store(cache: Path, content: bytes) -> None:
    # Renamed into place, because several test workers may write it at once.
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache.parent, delete=False) as out:
        out.write(content)
    os.replace(out.name, cache)
    for old in cache.parent.glob("matrix-spec-*.pickle"):
        if old != cache:
            old.unlink(missing_ok=True)


class _Reader:
    """Resolves references; every file is parsed once and every resolved fragment is shared."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self._documents: dict[Path, Any] = {}
        self._resolved: dict[tuple[Path, str], Any] = {}
        self._open: list[tuple[Path, str]] = []

    def operations(self) -> Iterator[Operation]:
        for file in sorted((self._data / "api").glob("*/*.yaml")):
            document = self._document(file)
            if not isinstance(document, dict) or "paths" not in document:
                continue
            base = document["servers"][0]["variables"]["basePath"]["default"]
            for path, item in document["paths"].items():
                for method, operation in item.items():
                    if method in METHODS:
                        yield self._operation(file, base + path.strip(), method, operation)

    def events(self) -> Iterator[tuple[str, Schema]]:
        for file in sorted((self._data / "event-schemas" / "schema").glob("m.*.yaml")):
            if "$" not in file.name:
                yield file.stem, self._resolve(file, self._document(file))

    def _operation(self, file: Path, path: str, method: str, raw: Mapping[str, Any]) -> Operation:
        parameters = [self._resolve(file, parameter) for parameter in raw.get("parameters", [])]
        body = self._resolve(file, raw.get("requestBody", {}))
        security = raw.get("security", [])
        return Operation(
            api=file.parent.name,
            file=file.name,
            name=str(raw.get("operationId", "")),
            method=method.upper(),
            path=path,
            segments=tuple(path.split("/")[1:]),
            parameters=tuple(
                Parameter(p["name"], p["in"], bool(p.get("required", False)), p.get("schema", {})) for p in parameters
            ),
            body=_content(body),
            body_required=bool(body.get("required", False)),
            replies={str(status): self._reply(file, reply) for status, reply in raw["responses"].items()},
            needs_token={} not in security and any("accessTokenBearer" in scheme for scheme in security),
        )

    def _reply(self, file: Path, raw: Mapping[str, Any]) -> Reply:
        reply = self._resolve(file, raw)
        headers = reply.get("headers", {})
        required = tuple(name for name, header in headers.items() if header.get("required", False))
        return Reply(_content(reply), required)

    def _document(self, file: Path) -> Any:
        if file not in self._documents:
            with file.open("rb") as source:
                self._documents[file] = yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return self._documents[file]

    def _resolve(self, file: Path, node: Any) -> Any:
        if isinstance(node, list):
            return [self._resolve(file, item) for item in node]
        if not isinstance(node, dict):
            return node
        # Examples hold references too, and event contents in them may have keys that look like schema words.
        rest = {
            key: self._resolve(file, value)
            for key, value in node.items()
            if key != "$ref" and not (key in ("example", "examples") and not _is_schema(value))
        }
        reference = node.get("$ref")
        if not isinstance(reference, str):
            return rest
        target = self._follow(file, reference)
        if not isinstance(target, dict) or not rest:
            return target
        if rest.keys() <= ANNOTATIONS:
            return {**target, **rest}
        return {"allOf": [target, rest]}

    def _follow(self, file: Path, reference: str) -> Any:
        name, _, pointer = reference.partition("#")
        target = (file.parent / name).resolve() if name else file
        place = (target, pointer)
        if place in self._open:
            raise ValueError(f"{file}: {reference} refers to itself, which this reader cannot inline")
        if place not in self._resolved:
            self._open.append(place)
            node = self._document(target)
            for step in re.findall(r"/([^/]*)", pointer):
                node = node[step.replace("~1", "/").replace("~0", "~")]
            self._resolved[place] = self._resolve(target, node)
            self._open.pop()
        return self._resolved[place]


def _content(part: Mapping[str, Any]) -> dict[str, Schema]:
    return {kind: media.get("schema", {}) for kind, media in part.get("content", {}).items()}


def _is_schema(value: Any) -> bool:
    # A property called "example" would be a schema; an example in the data never has "type" naming a JSON type.
    return isinstance(value, dict) and value.get("type") in ("string", "object", "array", "integer", "boolean")
