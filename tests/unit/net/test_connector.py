"""Which of a host's addresses are connected to."""

from __future__ import annotations

import pytest
from twisted.names import dns as names

from matrixd.net.errors import FailureKind
from matrixd.net.route import Place, Route
from tests.unit.net.loopback import Net, answer, answering, failure, rules

ROUTE = Route("c.example", [Place("c.example", 1)], "c.example", "c.example")


def test_addresses_are_told_apart(net: Net) -> None:
    net.names.add("c.example", *(names.Record_A(f"127.0.0.{number}") for number in (1, 2, 3)))
    connector = net.connector(addresses=rules("127.0.0.2/31"))
    found = net.run(connector.addresses("c.example", "c.example"))
    assert (found.allowed, sorted(found.refused)) == (("127.0.0.1",), ["127.0.0.2", "127.0.0.3"])


def test_only_some_of_very_many_are_tried(net: Net) -> None:
    net.names.add("c.example", *(names.Record_A(f"127.0.0.{number}") for number in range(1, 21)))
    assert len(net.run(net.connector().addresses("c.example", "c.example")).allowed) == 8


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_whoever_brings_an_address_it_is_checked_before_the_connection(net: Net, address: str) -> None:
    server = net.serve(answering(answer(b"{}")))
    connector = net.connector(addresses=rules("127.0.0.0/8"))
    error = failure(net, connector.open(ROUTE, Place("c.example", server.port), [address]))
    assert (error.kind, server.connections) == (FailureKind.ADDRESS, 0)


def test_a_name_that_changes_its_mind_is_checked_again(net: Net) -> None:
    server = net.serve(answering(answer(b"{}", Connection="close")), "c.example")
    net.names.add("c.example", names.Record_A("127.0.0.1", ttl=60))
    client = net.client(addresses=rules("10.0.0.0/8"))
    assert net.run(client.get(f"c.example:{server.port}", "/")) == {}
    net.names.records = {("c.example", names.A): [names.Record_A("10.0.0.1")]}
    net.clock.advance(3600)
    assert failure(net, client.get(f"c.example:{server.port}", "/")).kind is FailureKind.ADDRESS


def test_an_address_that_refuses_does_not_hide_one_that_answers(net: Net) -> None:
    # Nobody listens at the other address of loopback.
    server = net.serve(answering(answer(b'{"a":1}')), "c.example")
    net.names.add("c.example", names.Record_A("127.0.0.9"), names.Record_A("127.0.0.1"))
    assert net.run(net.client().get(f"c.example:{server.port}", "/")) == {"a": 1}
