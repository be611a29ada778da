"""Looking names up: SRV records and addresses, a bounded number at a time, remembered as long as their owners say."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError
from twisted.names import dns, error

from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.hosts_file import HostsFile
from matrixd.net.srv import SrvRecord
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: Look-ups at once, in all; as many wait as `_MAX_WAITING` says.
_MAX_LOOKUPS = 60
_MAX_WAITING = 2000
_TIMEOUT_S = 15.0
#: What is believed of the times to live that come with answers, in seconds.
_MIN_TTL, _MAX_TTL = 60, 86_400
_MIN_NEGATIVE, _MAX_NEGATIVE = 60, 3600
#: "There is nothing" without a SOA record, and "no answer".
_DEFAULT_NEGATIVE, _FAILURE_TTL = 300, 30
#: For so long an answer that has expired is better than none (RFC 8767).
_STALE_S = 86_400
_MAX_RECORDS = 32
_BYTES_PER_RECORD, _BYTES_PER_ANSWER = 200, 400

Records = tuple[list[dns.RRHeader], list[dns.RRHeader], list[dns.RRHeader]]


class Resolver(Protocol):
    """The part of `twisted.names.client.Resolver` that is used."""

    def lookupService(self, name: str) -> "Deferred[Records]": ...
    def lookupAddress(self, name: str) -> "Deferred[Records]": ...
    def lookupIPV6Address(self, name: str) -> "Deferred[Records]": ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What the DNS says of one name and type. problem: why nothing could be found out; None otherwise."""

    records: tuple[Any, ...]
    ttl: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    found: _Found
    expires: float


class Dns:
    """Names to records. `resolver` asks the servers of resolv.conf; `hosts` goes before it."""

    def __init__(self, resolver: Resolver, hosts: HostsFile, clock: Clock, timer: Any, budget: CacheBudget) -> None:
        self._resolver = resolver
        self._hosts = hosts
        self._clock = clock
        self._timer = timer
        self._kept = budget.cache("dns", tuple[str, str], _Kept)
        self._flights: SingleFlight[tuple[str, str], _Found] = SingleFlight()
        self._slots = DeferredSemaphore(_MAX_LOOKUPS)

    async def services(self, server_name: str, name: str) -> Sequence[SrvRecord]:
        """The SRV records of a name, empty if it has none. Raises RemoteError(DNS) if that can't be found out."""
        found = await self._find("SRV", name)
        if found.problem is not None:
            raise RemoteError(server_name, FailureKind.DNS, f"SRV of {name}: {found.problem}")
        return found.records

    async def addresses(self, server_name: str, host: str) -> Sequence[str]:
        """IPv6 and IPv4 addresses of a host, in turns. Raises RemoteError(DNS) if there are none."""
        name = host.rstrip(".").lower()
        known = self._hosts.addresses(name)
        if known:
            return known
        pending = [Deferred.fromCoroutine(self._find(kind, name)) for kind in ("AAAA", "A")]
        six, four = [await each for each in pending]
        found = _in_turns(six.records, four.records)
        if not found:
            problem = six.problem or four.problem or "the name has no addresses, or does not exist"
            raise RemoteError(server_name, FailureKind.DNS, f"{name}: {problem}")
        return found

    async def _find(self, kind: str, name: str) -> _Found:
        key = (kind, name.rstrip(".").lower())
        kept = self._kept.get(key)
        now = self._clock.monotonic()
        if kept is not None and now < kept.expires:
            return kept.found
        found = await self._flights.run(key, lambda: self._ask(*key))
        if found.problem is not None and kept is not None and kept.found.records and now < kept.expires + _STALE_S:
            return kept.found
        return found

    async def _ask(self, kind: str, name: str) -> _Found:
        if len(self._slots.waiting) >= _MAX_WAITING:
            return _Found((), 0, "too many names are being looked up")
        await self._slots.acquire()
        try:
            found = await self._lookup(kind, name)
        finally:
            self._slots.release()
        self._keep((kind, name), found)
        return found

    def _keep(self, key: tuple[str, str], found: _Found) -> None:
        kept = self._kept.get(key)
        now = self._clock.monotonic()
        if found.problem is not None and kept is not None and kept.found.records and now < kept.expires + _STALE_S:
            return
        size = _BYTES_PER_ANSWER + _BYTES_PER_RECORD * len(found.records)
        self._kept.put(key, _Kept(found, now + found.ttl), size)

    async def _lookup(self, kind: str, name: str) -> _Found:
        ask = {
            "SRV": self._resolver.lookupService,
            "A": self._resolver.lookupAddress,
            "AAAA": self._resolver.lookupIPV6Address,
        }[kind]
        try:
            answers, authority, _ = await ask(name).addTimeout(_TIMEOUT_S, self._timer)
        except error.DNSNameError as problem:
            # The name does not exist.
            return _Found((), _negative_ttl(problem.args[0].authority))
        except DeferredTimeout:
            return _Found((), _FAILURE_TTL, "the name servers do not answer")
        except (error.DomainError, error.ResolverError, OSError, ValueError, ConnectError) as problem:
            return _Found((), _FAILURE_TTL, _PROBLEMS.get(type(problem), type(problem).__name__))
        wanted = {"SRV": dns.Record_SRV, "A": dns.Record_A, "AAAA": dns.Record_AAAA}[kind]
        headers = [header for header in answers if isinstance(header.payload, wanted)][:_MAX_RECORDS]
        if not headers:
            return _Found((), _negative_ttl(authority))
        ttl = min(max(_MIN_TTL, min(header.ttl for header in headers)), _MAX_TTL)
        return _Found(tuple(_value(kind, header.payload) for header in headers), ttl)


_PROBLEMS: dict[type[Exception], str] = {
    error.DNSServerError: "the name servers could not find it out (SERVFAIL): the domain's DNS is broken",
    error.DNSQueryRefusedError: "the name servers refuse to look it up",
    error.DNSFormatError: "the name servers do not understand the question",
    error.DNSNotImplementedError: "the name servers do not know this kind of question",
}


def _value(kind: str, payload: Any) -> Any:
    if kind == "SRV":
        target = payload.target.name.decode("ascii", "replace").rstrip(".").lower()
        return SrvRecord(payload.priority, payload.weight, payload.port, target)
    return socket.inet_ntop(socket.AF_INET if kind == "A" else socket.AF_INET6, payload.address)


def _negative_ttl(authority: Sequence[dns.RRHeader]) -> int:
    """RFC 2308: the SOA record that comes with "there is nothing" says for how long."""
    for header in authority:
        if isinstance(header.payload, dns.Record_SOA):
            return min(max(_MIN_NEGATIVE, int(min(header.ttl, header.payload.minimum))), _MAX_NEGATIVE)
    return _DEFAULT_NEGATIVE


def _in_turns(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """RFC 8305, section 4: so that one family that does not work costs one attempt."""
    length = max(len(first), len(second))
    pairs = ((first[i : i + 1], second[i : i + 1]) for i in range(length))
    return [address for pair in pairs for each in pair for address in each]
