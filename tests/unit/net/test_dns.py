"""Look-ups at a real name server on loopback."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.names import dns as names

from matrixd.net.dns import Dns
from matrixd.net.errors import FailureKind
from matrixd.net.srv import SrvRecord
from tests.unit.net.loopback import Net, failure

SERVICE = "_matrix-fed._tcp.c.example"


def addresses(net: Net, dns: Dns, name: str) -> list[str]:
    return list(net.run(dns.addresses("server", name)))


def test_both_kinds_of_addresses_in_turns(net: Net) -> None:
    net.names.add("c.example", *(names.Record_A(f"192.0.2.{n}") for n in (1, 2)))
    net.names.add("c.example", *(names.Record_AAAA(f"2001:db8::{n}") for n in (1, 2, 3)))
    found = addresses(net, net.dns(), "C.example.")
    assert sorted(found) == ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"]
    assert [":" in address for address in found] == [True, False, True, False, True]


def test_aliases_are_followed(net: Net) -> None:
    net.names.add("c.example", names.Record_CNAME("d.example"))
    net.names.add("d.example", names.Record_A("192.0.2.1"))
    assert addresses(net, net.dns(), "c.example") == ["192.0.2.1"]


def test_the_hosts_file_goes_first(net: Net) -> None:
    net.names.add("a.example", names.Record_A("192.0.2.1"))
    assert addresses(net, net.dns(), "a.example") == ["127.0.0.1"]
    assert net.names.asked == []


def test_services(net: Net) -> None:
    net.names.add(SERVICE, names.Record_SRV(10, 5, 443, "D.example"), names.Record_SRV(0, 0, 8448, "e.example"))
    found = net.run(net.dns().services("c.example", SERVICE))
    assert sorted(found, key=lambda record: record.priority) == [
        SrvRecord(0, 0, 8448, "e.example"),
        SrvRecord(10, 5, 443, "d.example"),
    ]


def test_answers_are_kept_as_long_as_they_live(net: Net) -> None:
    net.names.add("c.example", names.Record_A("192.0.2.1", ttl=600), names.Record_AAAA("2001:db8::1", ttl=100_000_000))
    dns = net.dns()
    for advance in (0, 599):
        net.clock.advance(advance)
        addresses(net, dns, "c.example")
    assert len(net.names.asked) == 2
    net.clock.advance(2)
    addresses(net, dns, "c.example")
    assert net.names.asked[2:] == [("c.example", names.A)]
    net.clock.advance(86_400)
    addresses(net, dns, "c.example")
    assert net.names.asked[3:] == [("c.example", names.AAAA), ("c.example", names.A)]


def test_that_a_name_does_not_exist_is_kept_too(net: Net) -> None:
    dns = net.dns()
    for _ in range(2):
        assert list(net.run(dns.services("c.example", SERVICE))) == []
        assert failure(net, dns.addresses("c.example", "c.example")).kind is FailureKind.DNS
    assert len(net.names.asked) == 3
    net.clock.advance(3601)
    net.run(dns.services("c.example", SERVICE))
    assert len(net.names.asked) == 4


def test_name_servers_that_fail_or_say_nothing(net: Net) -> None:
    dns = net.dns()
    net.names.broken = {SERVICE}
    error = failure(net, dns.services("c.example", SERVICE))
    assert (error.kind, "SERVFAIL" in error.error) == (FailureKind.DNS, True)
    net.names.silent = {"c.example"}
    error = failure(net, dns.addresses("c.example", "c.example"))
    assert (error.kind, error.error) == (FailureKind.DNS, "c.example: the name servers do not answer")


def test_an_old_answer_is_better_than_none(net: Net) -> None:
    net.names.add("c.example", names.Record_A("192.0.2.1", ttl=60))
    dns = net.dns()
    addresses(net, dns, "c.example")
    net.names.broken = {"c.example"}
    net.clock.advance(3600)
    assert addresses(net, dns, "c.example") == ["192.0.2.1"]
    net.clock.advance(86_400)
    assert failure(net, dns.addresses("c.example", "c.example")).kind is FailureKind.DNS


def test_those_who_ask_for_the_same_share_a_lookup(net: Net) -> None:
    net.names.add("c.example", names.Record_A("192.0.2.1"))
    dns = net.dns()

    async def many() -> int:
        asked = [Deferred.fromCoroutine(dns.addresses("s", "c.example")) for _ in range(50)]
        return len(await gatherResults(asked))

    assert net.run(many()) == 50
    assert len(net.names.asked) == 2


def test_many_at_once(net: Net) -> None:
    for number in range(300):
        net.names.add(f"n{number}.example", names.Record_A("192.0.2.1"))
    dns = net.dns()

    async def many() -> int:
        asked = [Deferred.fromCoroutine(dns.addresses("s", f"n{n}.example")) for n in range(300)]
        return len(await gatherResults(asked))

    assert net.run(many()) == 300
