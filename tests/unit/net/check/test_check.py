"""Each kind of failure is found, said in a sentence, and has its cure."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from twisted.names import dns as names

from matrixd.config.federation import PRIVATE_RANGES, AddressRules, Partners
from matrixd.core.server_keys import published_keys
from matrixd.net import connector
from matrixd.net.check import fetching
from matrixd.net.check.clients import FORGED, SEEN
from matrixd.net.check.connections import Tried, Unreachable, tell_unreachable
from matrixd.net.check.report import Notes, Section, State
from matrixd.net.check.subject import Subject
from tests.support.authority import Authority, Certificate
from tests.unit.net.check.certificates import long_lived, self_signed, with_intermediate
from tests.unit.net.check.homeserver import (
    CLIENT_WELL_KNOWN,
    CORS,
    HOUR_MS,
    KEY,
    KEYS,
    NAME,
    OURS,
    VERSION,
    VERSIONS,
    WELL_KNOWN,
    Answering,
    Homeserver,
    Looking,
    everywhere,
    found,
    json_answer,
    now_ms,
    own_server,
    page,
    refusal,
    wrong,
)
from tests.unit.net.loopback import Asked, Net, Peer, answer


def _without_intermediate(net: Net) -> Certificate:
    return with_intermediate(net.hosts.parent, net.authority, is_sent=False)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


# ---- all is well -----------------------------------------------------------------------------------------------------


def test_another_server_without_fault(net: Net) -> None:
    homeserver = Homeserver(net)
    report = Looking(net, everywhere(homeserver)).report()
    assert wrong(report) == []
    for check in ("well_known", "srv", "default", "route", "certificate", "version", "keys", "clock"):
        assert found(report, check).state is State.OK, check
    assert found(report, "signed_request").text == "It believes a request that this server has signed."
    assert found(report, "encoded_path").state is State.OK
    assert found(report, "certificate").text.startswith(
        "The certificate is for a.example, localhost, by Test authority, and ends in 1 day."
    )
    assert not report.is_own
    assert {result.section for result in report.results}.isdisjoint({Section.SERVER, Section.CALLS, Section.OUTSIDE})


def test_our_own_server_without_fault(net: Net) -> None:
    homeserver = Homeserver(net, is_own=True)
    looking = Looking(net, everywhere(homeserver), own_server(homeserver.port), sign_with=KEY)
    report = looking.report()
    assert wrong(report) == []
    for check in ("listener", "own_key", "signed_request", "encoded_path", "versions", "client_address"):
        assert found(report, check).state is State.OK, check
    # Nobody else can come to this address; it is said, but it may be meant so.
    assert found(report, "private_address").state is State.WARNING
    assert report.state is State.WARNING


def test_the_report_is_json(net: Net) -> None:
    report = Looking(net, everywhere(Homeserver(net))).report()
    told = json.loads(json.dumps(report.as_json()))
    assert told["server_name"] == NAME
    assert told["state"] == report.state.value
    assert sum(told["counts"].values()) == len(report.results) == sum(len(s["results"]) for s in told["sections"])
    assert [section["section"] for section in told["sections"]][:2] == ["discovery", "connection"]
    for section in told["sections"]:
        for result in section["results"]:
            assert ("cure" in result) is (result["state"] in ("warning", "failure"))


# ---- the way to the server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instead", "says"),
    [
        (answer(b"<html>"), "the answer is not JSON"),
        (answer(b'{"server": "x"}'), "no 'm.server'"),
        (answer(b"", "302 Found", Location="http://a.example/"), "it redirects to what is not https"),
    ],
)
def test_a_well_known_file_of_no_use(net: Net, instead: bytes, says: str) -> None:
    homeserver = Homeserver(net)
    homeserver.instead[WELL_KNOWN] = instead
    result = found(Looking(net, everywhere(homeserver)).report(), "well_known")
    assert result.state is State.FAILURE
    assert says in result.text
    assert '{"m.server": "a.example:443"}' in (result.cure or "")


def test_a_well_known_file_that_nobody_serves(net: Net) -> None:
    homeserver = Homeserver(net)
    homeserver.instead[WELL_KNOWN] = page("503 Service Unavailable")
    result = found(Looking(net, everywhere(homeserver)).report(), "well_known")
    assert result.state is State.FAILURE
    assert "is the homeserver running?" in (result.cure or "")


def test_a_server_that_this_one_does_not_talk_to(net: Net) -> None:
    looking = Looking(net, everywhere(Homeserver(net)), changes={"partners": Partners(frozenset({"b.example"}), ())})
    assert found(looking.report(), "whitelist").state is State.WARNING


def test_no_web_server_is_no_failure(net: Net) -> None:
    homeserver = Homeserver(net)
    report = Looking(net, {443: closed_port(), 8448: homeserver.port}).report()
    assert wrong(report) == []
    assert found(report, "well_known").state is State.WARNING
    assert found(report, "well_known_client").state is State.WARNING


def test_a_delegation_leads_on(net: Net) -> None:
    homeserver = Homeserver(net)
    homeserver.instead[WELL_KNOWN] = json_answer({"m.server": f"localhost:{homeserver.port}"})
    report = Looking(net, everywhere(homeserver)).report()
    assert wrong(report) == []
    assert "expect TLS for localhost" in found(report, "route").text
    assert found(report, "well_known").text.endswith(f"to localhost:{homeserver.port}.")


def test_an_old_srv_record_works_and_should_be_renamed(net: Net) -> None:
    homeserver = Homeserver(net)
    net.names.add("_matrix._tcp.a.example", names.Record_SRV(0, 0, homeserver.port, "target.example"))
    report = Looking(net, everywhere(homeserver)).report()
    assert wrong(report) == []
    result = found(report, "srv_deprecated")
    assert result.state is State.WARNING
    assert "_matrix-fed._tcp.a.example" in (result.cure or "")


def test_a_name_without_addresses(net: Net) -> None:
    report = Looking(net, {}, name="nowhere.example").report()
    result = found(report, "addresses")
    assert result.state is State.FAILURE
    assert "nowhere.example. IN A" in (result.cure or "")
    assert found(report, "keys").state is State.SKIPPED


def test_what_is_no_server_name(net: Net) -> None:
    assert found(Looking(net, {}, name="a.example:99999").report(), "route").state is State.FAILURE


def test_forbidden_addresses_of_another_server(net: Net) -> None:
    looking = Looking(net, {}, changes={"addresses": AddressRules(PRIVATE_RANGES, ())})
    result = found(looking.report(), "addresses")
    assert result.state is State.FAILURE
    assert "ip_range_blacklist" in result.text + (result.cure or "")


# ---- connections and certificates ------------------------------------------------------------------------------------


def test_a_closed_port(net: Net) -> None:
    port = closed_port()
    report = Looking(net, {}, name=f"a.example:{port}").report()
    result = found(report, "connection")
    assert (result.state, result.subject) == (State.FAILURE, f"127.0.0.1:{port}")
    assert "the connection is refused" in result.text
    assert f"listen {port} ssl" in (result.cure or "")


def test_a_port_that_says_nothing(net: Net, silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "HANDSHAKE_S", 0.3)
    report = Looking(net, {}, name=f"a.example:{silent_port}").report()
    result = found(report, "tls")
    assert result.state is State.FAILURE
    assert "no end of the TLS handshake in time" in result.text
    assert f"listen {silent_port} ssl" in (result.cure or "")


def test_a_server_that_takes_requests_and_does_not_answer(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "ANSWER_S", 0.3)

    def handle(peer: Peer) -> None:
        peer.read()
        time.sleep(2)

    server = net.serve_with(net.authority.issue(NAME), handle)
    report = Looking(net, {443: closed_port(), 8448: server.port}).report()
    assert "no answer within 0.3 seconds" in found(report, "version").text


def test_the_time_is_bounded(net: Net, silent_port: int) -> None:
    started = time.monotonic()
    report = Looking(net, {443: silent_port, 8448: silent_port}, patience_s=0.5).report()
    assert time.monotonic() - started < 5
    assert found(report, "time").state is State.FAILURE


@pytest.mark.parametrize(
    ("certificate", "says", "cure"),
    [
        (lambda net: net.authority.issue(NAME, valid_days=-1), "has expired", "certbot renew"),
        (lambda net: net.authority.issue("other.example"), "is for other.example, not for a.example", "SRV record"),
        (lambda net: Authority("Somebody").issue(NAME), "issuer is not known", "the whole chain"),
        (lambda net: self_signed(net.hosts.parent), "signed by itself", "public authorities"),
        (lambda net: _without_intermediate(net), "issuer is not known", "fullchain.pem"),
    ],
)
def test_certificates_that_others_refuse(net: Net, certificate: object, says: str, cure: str) -> None:
    made: Certificate = certificate(net)  # type: ignore[operator]
    homeserver = Homeserver(net, certificate=made)
    report = Looking(net, everywhere(homeserver)).report()
    result = found(report, "certificate")
    assert result.state is State.FAILURE
    assert says in result.text
    assert "The certificate is for" in result.text
    assert cure in (result.cure or "")
    assert found(report, "keys").state is State.SKIPPED


def test_an_authority_that_nobody_knows_with_its_whole_chain(net: Net) -> None:
    certificate = with_intermediate(net.hosts.parent, Authority("Somebody"), is_sent=True)
    homeserver = Homeserver(net, certificate=certificate)
    result = found(Looking(net, everywhere(homeserver)).report(), "certificate")
    assert result.state is State.FAILURE
    assert "federation_custom_ca_list" in (result.cure or "")


def test_a_chain_with_its_intermediate_is_fine(net: Net) -> None:
    homeserver = Homeserver(net, certificate=with_intermediate(net.hosts.parent, net.authority, is_sent=True))
    assert wrong(Looking(net, everywhere(homeserver)).report()) == []


def test_a_certificate_that_nobody_renewed(net: Net) -> None:
    homeserver = Homeserver(net, certificate=long_lived(net.hosts.parent, net.authority, days_left=5))
    result = found(Looking(net, everywhere(homeserver)).report(), "certificate")
    assert result.state is State.WARNING
    assert "ends in 4 days" in result.text


def test_certificates_that_only_this_server_does_not_verify(net: Net) -> None:
    homeserver = Homeserver(net, certificate=Authority("Somebody").issue(NAME))
    report = Looking(net, everywhere(homeserver), changes={"verify_certificates": False}).report()
    assert found(report, "certificate").state is State.WARNING


def test_an_old_version_of_tls(net: Net) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = net.serve(lambda peer: None, NAME, context=context)
    looking = Looking(net, {443: closed_port(), 8448: server.port}, changes={"minimum_tls_version": "1.3"})
    assert found(looking.report(), "tls").state is State.FAILURE


def test_an_address_that_only_this_machine_cannot_reach() -> None:
    own = Subject(NAME, own_server(8448), None)
    tried = Tried((), [Unreachable("8.8.8.8:8448", "8.8.8.8", 8448, "the address does not answer")])
    blind, seen = Notes(Section.CONNECTION), Notes(Section.CONNECTION)
    tell_unreachable(own, tried, False, blind)
    tell_unreachable(own, tried, True, seen)
    assert blind.results[0].state is State.FAILURE
    assert "hairpin NAT" in (blind.results[0].cure or "")
    assert seen.results[0].state is State.WARNING
    assert "hairpin NAT" in seen.results[0].text


# ---- the server API --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "instead", "check", "cure"),
    [
        (VERSION, page("502 Bad Gateway"), "version", "does not reach the homeserver"),
        (VERSION, page("404 Not Found"), "version", "answers by itself"),
        (VERSION, answer(b"", "301 Moved", Location="https://x/"), "version", "follow no redirects"),
        (VERSION, refusal("404 Not Found", "M_UNRECOGNIZED"), "version", "changes the path"),
        (KEYS, page("404 Not Found"), "keys", "answers by itself"),
        (KEYS, json_answer({"server_name": "b.example"}), "keys", "exactly a.example"),
        (
            KEYS,
            lambda asked: json_answer(published_keys(NAME, [KEY], [], now_ms() - 1000)),
            "keys",
            "Set the clock",
        ),
        (
            KEYS,
            lambda asked: json_answer({**published_keys(NAME, [KEY], [], now_ms() + HOUR_MS), "added": "later"}),
            "keys",
            "exactly a.example",
        ),
    ],
)
def test_wrong_answers(net: Net, path: str, instead: Answering, check: str, cure: str) -> None:
    homeserver = Homeserver(net)
    homeserver.instead[path] = instead
    result = found(Looking(net, everywhere(homeserver)).report(), check)
    assert result.state is State.FAILURE
    assert cure in (result.cure or "")


@pytest.mark.parametrize(("hours", "direction"), [(1, "ahead of"), (-1, "behind")])
def test_a_clock_that_is_off_by_an_hour(net: Net, hours: int, direction: str) -> None:
    def late(asked: Asked) -> bytes:
        return answer(b'{"server": {}}', Date=formatdate(time.time() + hours * 3600, usegmt=True))

    homeserver = Homeserver(net)
    homeserver.instead[VERSION] = late
    result = found(Looking(net, everywhere(homeserver)).report(), "clock")
    assert result.state is State.FAILURE
    assert f"60 minutes {direction}" in result.text
    assert "timedatectl" in (result.cure or "")


def test_a_signature_that_the_other_server_does_not_believe(net: Net) -> None:
    homeserver = Homeserver(net)
    homeserver.sender = KEY
    report = Looking(net, everywhere(homeserver), sign_with=OURS).report()
    assert wrong(report) == ["signed_request"]
    assert "Run `synctl check` without a name" in (found(report, "signed_request").cure or "")


def test_a_proxy_that_takes_the_signature_away(net: Net) -> None:
    homeserver = Homeserver(net, is_own=True)
    homeserver.instead["/_matrix/federation/v1/query/profile"] = refusal("401 Unauthorized", "M_UNAUTHORIZED")
    report = Looking(net, everywhere(homeserver), own_server(homeserver.port), sign_with=KEY).report()
    assert wrong(report) == ["signed_request"]
    assert "the header Authorization" in (found(report, "signed_request").cure or "")


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found"])
def test_a_proxy_that_decodes_paths(net: Net, status: str) -> None:
    homeserver = Homeserver(net, is_own=True)
    path = "/_matrix/federation/v1/event/%24matrixd%2Fcheck%25%2B%3Aa.example"
    homeserver.instead[path] = refusal(status, "M_UNAUTHORIZED" if "401" in status else "M_UNRECOGNIZED")
    report = Looking(net, everywhere(homeserver), own_server(homeserver.port), sign_with=KEY).report()
    assert wrong(report) == ["encoded_path"]
    assert "proxy_pass" in (found(report, "encoded_path").cure or "")


def test_another_key_than_ours_is_published(net: Net) -> None:
    homeserver = Homeserver(net, is_own=True)
    own = own_server(homeserver.port, keys={OURS.key_id: OURS.verify_key.to_base64()})
    report = Looking(net, everywhere(homeserver), own, sign_with=KEY).report()
    assert wrong(report) == ["own_key"]
    assert "synctl restart" in (found(report, "own_key").cure or "")


def test_without_a_key_nothing_is_signed(net: Net) -> None:
    report = Looking(net, everywhere(Homeserver(net)), sign_with=None).report()
    assert wrong(report) == []
    assert found(report, "signed_request").state is State.SKIPPED


# ---- this machine, clients, and who looks from elsewhere -------------------------------------------------------------


def test_a_server_that_does_not_run(net: Net) -> None:
    report = Looking(net, dict.fromkeys((443, 8448), closed_port()), own_server(closed_port())).report()
    result = found(report, "listener")
    assert result.state is State.FAILURE
    assert "it seems not to run" in result.text
    assert "synctl start" in (result.cure or "")


@pytest.mark.parametrize(
    ("path", "instead", "check", "cure"),
    [
        (VERSIONS, json_answer({"versions": []}), "cors", "must not take away"),
        (
            VERSIONS,
            json_answer({"versions": []}, **CORS).replace(b"\r\n\r\n", b"\r\nAccess-Control-Allow-Origin: *\r\n\r\n"),
            "cors",
            "add_header",
        ),
        (VERSIONS, page("502 Bad Gateway"), "versions", "synctl status"),
        (CLIENT_WELL_KNOWN, answer(b"{}", **CORS), "well_known_client", "public_baseurl"),
        (
            CLIENT_WELL_KNOWN,
            json_answer({"m.homeserver": {"base_url": "https://elsewhere.example"}}, **CORS),
            "base_url",
            "public_baseurl",
        ),
        (SEEN, json_answer({"client_ip": FORGED}), "client_address", "X-Forwarded-For $remote_addr"),
    ],
)
def test_what_clients_stumble_over(net: Net, path: str, instead: Answering, check: str, cure: str) -> None:
    homeserver = Homeserver(net, is_own=True)
    homeserver.instead[path] = instead
    report = Looking(net, everywhere(homeserver), own_server(homeserver.port), sign_with=KEY).report()
    assert check in wrong(report)
    assert cure in (found(report, check).cure or "")


def test_the_address_of_a_proxy_instead_of_the_clients(net: Net) -> None:
    homeserver = Homeserver(net, is_own=True)
    homeserver.instead[SEEN] = json_answer({"client_ip": "172.17.0.1"})
    report = Looking(net, everywhere(homeserver), own_server(homeserver.port), sign_with=KEY).report()
    result = found(report, "client_address")
    assert result.state is State.WARNING
    assert "trusted_proxies: [172.17.0.1]" in (result.cure or "")
    asked = [asked for asked in homeserver.tls.asked if SEEN in asked.line]
    assert asked[0].headers["x-forwarded-for"] == FORGED


def test_without_public_baseurl(net: Net) -> None:
    homeserver = Homeserver(net, is_own=True)
    own = own_server(homeserver.port, public_baseurl=None)
    report = Looking(net, everywhere(homeserver), own, sign_with=KEY).report()
    assert wrong(report) == []
    assert found(report, "public_baseurl").state is State.WARNING
    assert found(report, "versions").state is State.OK


@pytest.mark.parametrize(("age_ms", "state"), [(0, State.OK), (HOUR_MS, State.WARNING)])
def test_a_notary_tells_whether_it_can_reach_us(net: Net, age_ms: int, state: State) -> None:
    def told(asked: Asked) -> bytes:
        keys = published_keys(NAME, [KEY], [], now_ms() - age_ms + 24 * HOUR_MS)
        return json_answer({"server_keys": [keys]})

    homeserver = Homeserver(net, is_own=True)
    homeserver.instead[f"/_matrix/key/v2/query/{NAME}"] = told
    own = own_server(homeserver.port, notaries=[f"localhost:{homeserver.port}"])
    report = Looking(net, everywhere(homeserver), own, sign_with=KEY).report()
    assert wrong(report) == []
    assert found(report, "notary").state is state
    assert found(report, "notary_clock").state is State.OK


def test_a_notary_that_cannot_be_asked(net: Net) -> None:
    homeserver = Homeserver(net, is_own=True)
    own = own_server(homeserver.port, notaries=[f"localhost:{closed_port()}"])
    report = Looking(net, everywhere(homeserver), own, sign_with=KEY).report()
    assert wrong(report) == []
    assert found(report, "notary").state is State.SKIPPED
