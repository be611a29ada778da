"""YAML files as trees of values that know the line they stand on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from matrixd.config.faults import Fault, Findings, Place


@dataclass(frozen=True, slots=True)
class Value:
    """A YAML node. `data` is a scalar (str, int, float, bool, None, …), a list of Value, or a dict of Value by key.

    `raw` is a scalar's text as written: YAML 1.1 reads a bare `off` as a boolean, where an admin means the word.
    """

    place: Place
    data: Any
    raw: str = ""

    @property
    def kind(self) -> str:
        """What the value is, in a word for error messages; never the value itself, which may be a secret."""
        for type_, name in _KINDS:
            if isinstance(self.data, type_):
                return name
        return "nothing" if self.data is None else "a date"

    def plain(self) -> Any:
        """The value without its places: str, int, list, dict, …"""
        match self.data:
            case dict():
                return {key: value.plain() for key, value in self.data.items()}
            case list():
                return [item.plain() for item in self.data]
            case _:
                return self.data


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a section"),
)


def read_yaml(file: Path, findings: Findings) -> Value | None:
    """The tree of one file; an empty file gives an empty mapping. None (with a fault noted) if it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
        return _Tree(file, findings).build(text)
    except OSError as error:
        findings.fault(Place(file, 1), "", f"cannot be read: {error.strerror}.", "Check the path and its permissions.")
    except UnicodeDecodeError:
        findings.fault(Place(file, 1), "", "is not UTF-8 text.", "Save the file as UTF-8.")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1 if mark else 1)
        findings.fault(
            place, "", f"is not YAML: {error.problem}.", "Check indentation, quotes and colons near this line."
        )
    except yaml.YAMLError as error:
        findings.fault(Place(file, 1), "", f"is not YAML: {error}.", "Check the file for characters that YAML forbids.")
    return None


def merge(files: Iterable[Value]) -> dict[str, Value]:
    """The options of several files: a later file's option replaces the earlier one whole, sections and lists included.

    Sections are not mixed: a `database` for PostgreSQL must not inherit SQLite's arguments.
    """
    merged: dict[str, Value] = {}
    for tree in files:
        merged.update(tree.data)
    return merged


class _Tree:
    def __init__(self, file: Path, findings: Findings) -> None:
        self._file = file
        self._findings = findings
        self._open: set[int] = set()

    def build(self, text: str) -> Value:
        self._loader = yaml.SafeLoader(text)
        try:
            node = self._loader.get_single_node()
            tree = self._value(node) if node else Value(Place(self._file, 1), {})
        finally:
            self._loader.dispose()
        if tree.data is None:
            return Value(tree.place, {})
        if not isinstance(tree.data, dict):
            fault = Fault(tree.place, "", f"holds {tree.kind}, not options.", "Write one `option: value` a line.")
            self._findings.faults.append(fault)
            return Value(tree.place, {})
        return tree

    def _value(self, node: yaml.Node) -> Value:
        place = self._place(node)
        if id(node) in self._open:
            raise yaml.constructor.ConstructorError(None, None, "an anchor contains itself", node.start_mark)
        self._open.add(id(node))
        try:
            match node:
                case yaml.MappingNode():
                    return Value(place, self._mapping(node))
                case yaml.SequenceNode():
                    return Value(place, [self._value(item) for item in node.value])
                case _:
                    return Value(place, self._loader.construct_object(node), str(node.value))
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Value]:
        self._refuse_duplicates(node)
        self._loader.flatten_mapping(node)
        return {str(key.value): self._value(value) for key, value in node.value}

    def _refuse_duplicates(self, node: yaml.MappingNode) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                self._findings.fault(
                    self._place(key), name, f"stands twice; the first is in line {seen[name]}.", "Keep one of the two."
                )
            seen[name] = key.start_mark.line + 1

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1)
