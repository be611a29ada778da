"""The whole check: what does not depend on each other runs side by side, and all of it ends in time."""

from collections.abc import Coroutine, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout

from matrixd.net.check.calls import Calls
from matrixd.net.check.clients import Clients
from matrixd.net.check.connections import Connections, Tried, tell_unreachable
from matrixd.net.check.delegation import find
from matrixd.net.check.local import check_listeners
from matrixd.net.check.outside import Seen, ask_notaries
from matrixd.net.check.report import Notes, Report, Result, Section
from matrixd.net.check.server_api import ServerApi
from matrixd.net.check.subject import Subject
from matrixd.net.check.tools import Tools
from matrixd.net.discovery import DEFAULT_PORT

#: For everything, in seconds.
PATIENCE_S: Final = 75.0


class Check:
    """One check of one server. `given`: results that are known before, which stand first."""

    def __init__(
        self, tools: Tools, subject: Subject, given: Sequence[Result] = (), patience_s: float = PATIENCE_S
    ) -> None:
        self._tools = tools
        self._subject = subject
        self._given = given
        self._patience_s = patience_s
        self._notes = {section: Notes(section) for section in Section}
        self._seen = Seen()
        self._tried = Tried((), ())
        self._connections: Connections | None = None

    async def run(self) -> Report:
        """The report."""
        started_ts = self._tools.clock.now_ms()
        own = self._subject.own
        work = [
            self._bounded(Section.FEDERATION, self._federation()),
            self._bounded(Section.CLIENTS, Clients(self._tools, self._subject, self._notes[Section.CLIENTS]).check()),
        ]
        if own is not None:
            listeners = check_listeners(self._tools, own, self._notes[Section.SERVER])
            work.append(self._bounded(Section.SERVER, listeners))
            work.append(self._bounded(Section.OUTSIDE, self._outside()))
            work.append(self._bounded(Section.CALLS, self._calls()))
        try:
            await gatherResults([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)
        finally:
            if self._connections is not None:
                self._connections.close()
        tell_unreachable(self._subject, self._tried, self._seen.is_reached, self._notes[Section.CONNECTION])
        results = [*self._given, *(result for section in Section for result in self._notes[section].results)]
        took_ms = self._tools.clock.now_ms() - started_ts
        return Report(self._subject.server_name, own is not None, started_ts, took_ms, results)

    async def _bounded(self, section: Section, work: Coroutine[Deferred[Any], Any, None]) -> None:
        started = Deferred.fromCoroutine(work)
        try:
            await started.addTimeout(self._patience_s, self._tools.reactor)
        except (CancelledError, DeferredTimeout):
            self._notes[section].failure(
                "time", section.value, f"This was not finished within {self._patience_s:g} seconds.",
                "Something on the way answers very slowly, or not at all: the DNS, a firewall that drops packets, or a "
                "machine without processor time.",
            )  # fmt: skip

    async def _federation(self) -> None:
        notes = self._notes[Section.DISCOVERY]
        partners = self._tools.config.partners
        if self._subject.own is None and partners is not None and self._subject.server_name not in partners:
            notes.warning(
                "whitelist", self._subject.server_name,
                "This server is told with whom to talk: not with this one.",
                "Add it to `federation_domain_whitelist`, or take it out of `federation_domain_denylist`, in "
                "homeserver.yaml, and restart.",
            )  # fmt: skip
        route = await find(self._tools, self._subject, notes)
        api = self._notes[Section.FEDERATION]
        if route is None:
            api.skipped("version", self._subject.server_name, "There is nowhere to ask.")
            return
        ports = {place.port for place in route.places}
        if self._subject.own is not None and DEFAULT_PORT not in ports:
            self._notes[Section.CONNECTION].skipped(
                "port_8448", str(DEFAULT_PORT), "Port 8448 is not needed: other servers are sent elsewhere."
            )
        self._connections = Connections(self._tools, self._subject, self._notes[Section.CONNECTION], api)
        self._tried = await self._connections.try_all(route)
        if not self._tried.working:
            api.skipped("keys", self._subject.server_name, "No address leads to a homeserver: nothing more was asked.")
            return
        await ServerApi(self._tools, self._subject, route, self._tried.working[0], api).check()

    async def _outside(self) -> None:
        own = self._subject.own
        assert own is not None
        self._seen = await ask_notaries(self._tools, self._subject, own, self._notes[Section.OUTSIDE])

    async def _calls(self) -> None:
        own, notes = self._subject.own, self._notes[Section.CALLS]
        if own is None or own.turn is None:
            notes.skipped("turn", "turn_uris", "There is no TURN server: calls through some routers will fail.")
            return
        await Calls(self._tools, own.turn, notes).check()
