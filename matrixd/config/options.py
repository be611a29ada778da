"""The options of one section while they are read: who asks for a name makes it known, the rest is unknown."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeVar

from matrixd.config.faults import Findings, Place, WrongValue
from matrixd.config.values import Parser, section, wrong
from matrixd.config.yaml_tree import Value

T = TypeVar("T")
D = TypeVar("D")


class Options:
    """Reads options by name and notes every fault in `findings`, so that reading goes on with the default."""

    def __init__(self, findings: Findings, values: dict[str, Value], place: Place | None, name: str = "") -> None:
        self.findings = findings
        self.place = place
        self._values = values
        self._name = name
        self._asked: set[str] = set()
        self._sections: list[Options] = []

    def read(self, name: str, parse: Parser[T], default: D) -> T | D:
        """What `parse` makes of the option; `default` if the option is not there, is null, or is wrong."""
        value = self.value(name)
        if value is None:
            return default
        try:
            return parse(value)
        except WrongValue as error:
            for fault in error.faults:
                self.findings.fault(fault.place, self.full_name(name) + fault.option, fault.reason, fault.cure)
            return default

    def required(self, name: str, parse: Parser[T], fallback: T, cure: str) -> T:
        """Like `read`; that the option is missing is a fault (`fallback` only lets the reading go on)."""
        if self.value(name) is None:
            self.findings.fault(self.place, self.full_name(name), "is missing.", cure)
            return fallback
        return self.read(name, parse, fallback)

    def section(self, name: str) -> "Options":
        """The options of a section below this one; none if it is not there."""
        value = self.value(name)
        entries = self.read(name, section, {})
        return self._open(entries, value.place if value else self.place, self.full_name(name))

    def sections(self, name: str, read: Callable[["Options"], T]) -> tuple[T, ...]:
        """A list of sections, each read by `read`."""
        return tuple(read(options) for options in self._entries(name))

    def _entries(self, name: str) -> list["Options"]:
        opened = []
        for at, value in enumerate(self.read(name, _list, [])):
            full_name = f"{self.full_name(name)}[{at}]"
            try:
                opened.append(self._open(section(value), value.place, full_name))
            except WrongValue as error:
                for fault in error.faults:
                    self.findings.fault(fault.place, full_name, fault.reason, fault.cure)
        return opened

    def _open(self, values: dict[str, Value], place: Place | None, full_name: str) -> "Options":
        opened = Options(self.findings, values, place, full_name)
        self._sections.append(opened)
        return opened

    def value(self, name: str) -> Value | None:
        """The option's value as written; None if it is not there or null."""
        self._asked.add(name)
        value = self._values.get(name)
        return None if value is None or value.data is None else value

    def is_set(self, name: str) -> bool:
        """Whether the file has the option; a name with a dot is that of one in a section below."""
        first, _, rest = name.partition(".")
        value = self._values.get(first)
        for part in rest.split(".") if rest else ():
            value = value.data.get(part) if value is not None and isinstance(value.data, dict) else None
        return value is not None and value.data is not None

    def wrong(self, name: str, reason: str, cure: str) -> None:
        """Notes a fault of an option whose value only clashes with others."""
        value = self._values.get(name)
        self.findings.fault(value.place if value else self.place, self.full_name(name), reason, cure)

    def full_name(self, name: str) -> str:
        return f"{self._name}.{name}" if self._name else name

    def known(self) -> frozenset[str]:
        """The full names that have been asked for so far, here and below, with `[]` for places in a list."""
        here = {_anywhere(self.full_name(name)) for name in self._asked}
        return frozenset(here.union(*(opened.known() for opened in self._sections)))

    def finish(self, elsewhere: frozenset[str] = frozenset()) -> None:
        """Notes what nobody asked for, here and below; the names in `elsewhere` are options of Synapse only."""
        for name, value in self._values.items():
            if name not in self._asked:
                self._note_unknown(name, value, elsewhere)
        for opened in self._sections:
            opened.finish(elsewhere)

    def _note_unknown(self, name: str, value: Value, elsewhere: frozenset[str]) -> None:
        full_name = f"{self.full_name(name)} ({value.place})"
        near = get_close_matches(name, self._asked, n=1)
        if _anywhere(self.full_name(name)) in elsewhere:
            self.findings.unsupported.append(full_name)
        elif near:
            self.findings.unknown.append(f"{full_name}: did you mean `{near[0]}`?")
        else:
            self.findings.unknown.append(full_name)


def _anywhere(full_name: str) -> str:
    return re.sub(r"\[\d+\]", "[]", full_name)


def _list(value: Value) -> list[Value]:
    if not isinstance(value.data, list):
        raise wrong(value, f"is {value.kind}, not a list.", "Write a list, one `- …` for each entry.")
    return value.data
