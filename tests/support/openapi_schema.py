"""JSON Schema 2020-12 as OpenAPI 3.1 uses it, with Matrix's string formats and pattern formats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
from jsonschema.protocols import Validator

from tests.support import openapi_formats
from tests.support.openapi_files import Schema

MAX_SHOWN = 300


@dataclass(frozen=True)
class Mistake:
    """One thing that differs from the specification: where it is, what is wrong, and the value found there."""

    where: str
    reason: str
    value: object = None
    keyword: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}; found {show(self.value)}"


def show(value: object) -> str:
    """The value as JSON, cut to a readable length."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text)} characters)"


class Schemas:
    """Compiled schemas; compiling is kept per schema object, which the reader shares between operations."""

    def __init__(self) -> None:
        self._compiled: dict[int, tuple[Schema, Validator]] = {}

    def mistakes(self, schema: Schema, value: object, where: str) -> list[Mistake]:
        """Everything in ``value`` that ``schema`` does not allow; ``where`` is the name of the whole value."""
        held = self._compiled.get(id(schema))
        if held is None:
            # The schema is kept beside its validator so that its id stays its own.
            held = self._compiled[id(schema)] = (schema, _MATRIX_VALIDATOR(schema))
        return [_mistake(error, where) for error in held[1].iter_errors(value)]


def _mistake(error: Any, where: str) -> Mistake:
    deepest = error
    while deepest.context:
        # In oneOf and anyOf the alternative that went furthest tells most about what was meant.
        deepest = max(deepest.context, key=lambda inner: len(inner.absolute_path))
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in deepest.absolute_path)
    reason = deepest.message if len(deepest.message) <= MAX_SHOWN else f"fails {deepest.validator!r}"
    if deepest is not error:
        reason = f"fits no alternative of {error.validator!r}, e.g.: {reason}"
    return Mistake(where + path, reason, deepest.instance, str(error.validator))


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Schema], instance: object, schema: Schema
) -> Iterator[Any]:
    yield from jsonschema.Draft202012Validator.VALIDATORS["patternProperties"](validator, patterns, instance, schema)
    if not isinstance(instance, dict):
        return
    formats = {str(sub["x-pattern-format"]) for sub in patterns.values() if "x-pattern-format" in sub}
    if len(formats) != len(patterns):
        return
    # A map whose keys all have a named format has no room for other keys, save those that the schema names.
    for key in instance:
        if key not in schema.get("properties", {}) and not any(openapi_formats.conforms(f, key) for f in formats):
            yield jsonschema.ValidationError(f"the key {key!r} is no {' or '.join(sorted(formats))}")


def _format(_validator: Any, name: str, instance: object, _schema: Schema) -> Iterator[Any]:
    if not openapi_formats.conforms(name, instance):
        yield jsonschema.ValidationError(f"{show(instance)} is no {name}")


def _is_integer(_checker: object, value: object) -> bool:
    # JSON Schema takes 1.0 for an integer; Matrix forbids floats where it asks for integers (canonical JSON).
    return isinstance(value, int) and not isinstance(value, bool)


_MATRIX_VALIDATOR = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"patternProperties": _pattern_properties, "format": _format},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)
