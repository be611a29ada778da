"""What was found: results in sections, each with a state, a sentence, and what to do."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class State(enum.Enum):
    """How it stands with one thing."""

    OK = "ok"
    WARNING = "warning"
    """It works, or may work, but somebody will be hurt by it some day."""
    FAILURE = "failure"
    SKIPPED = "skipped"
    """Not looked at; the sentence says why."""


class Section(enum.Enum):
    """What results are about; the value is its heading, the order that of reports."""

    SERVER = "This machine"
    DISCOVERY = "Finding the server"
    CONNECTION = "Addresses and certificates"
    FEDERATION = "The server API"
    CLIENTS = "Clients"
    OUTSIDE = "Seen from elsewhere"
    CALLS = "Calls (TURN)"


_ORDER = {State.OK: 0, State.SKIPPED: 0, State.WARNING: 1, State.FAILURE: 2}


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was looked at.

    check: what, a name that stays the same. subject: where: a URL, a name, an address. text: a sentence. cure: what to
    do, None if there is nothing to do.
    """

    section: Section
    check: str
    subject: str
    state: State
    text: str
    cure: str | None = None


class Notes:
    """Collects the results of one section."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.results: list[Result] = []

    def ok(self, check: str, subject: str, text: str) -> None:
        """It is as it should be."""
        self.results.append(Result(self.section, check, subject, State.OK, text))

    def warning(self, check: str, subject: str, text: str, cure: str) -> None:
        """It may hurt."""
        self.results.append(Result(self.section, check, subject, State.WARNING, text, cure))

    def failure(self, check: str, subject: str, text: str, cure: str) -> None:
        """It does not work."""
        self.results.append(Result(self.section, check, subject, State.FAILURE, text, cure))

    def skipped(self, check: str, subject: str, text: str) -> None:
        """It was not looked at."""
        self.results.append(Result(self.section, check, subject, State.SKIPPED, text))

    def has_failed(self) -> bool:
        """Whether something does not work."""
        return any(result.state is State.FAILURE for result in self.results)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found. is_own: it is about the server whose configuration this is."""

    server_name: str
    is_own: bool
    started_ts: int
    took_ms: int
    results: Sequence[Result]

    @property
    def state(self) -> State:
        """The worst of all."""
        states = [State.OK, *(result.state for result in self.results if result.state is not State.SKIPPED)]
        return max(states, key=_ORDER.__getitem__)

    def count(self, state: State) -> int:
        """How many results have the state."""
        return sum(result.state is state for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """For programs: sections in order, each with its results."""
        sections = []
        for section in Section:
            found = [result for result in self.results if result.section is section]
            if found:
                sections.append(
                    {
                        "section": section.name.lower(),
                        "title": section.value,
                        "results": [_as_json(result) for result in found],
                    }
                )
        return {
            "server_name": self.server_name,
            "is_own": self.is_own,
            "state": self.state.value,
            "started_ts": self.started_ts,
            "took_ms": self.took_ms,
            "counts": {state.value: self.count(state) for state in State},
            "sections": sections,
        }


def _as_json(result: Result) -> dict[str, Any]:
    found = {
        "check": result.check,
        "subject": result.subject,
        "state": result.state.value,
        "text": result.text,
    }
    return found if result.cure is None else {**found, "cure": result.cure}
