"""`synctl check` and the page for admins, against a running server on loopback: well, broken, and stopped."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import database
from tests.support.authority import Authority
from tests.support.coturn import Coturn, CoturnMissing
from tests.support.database import DatabasePlace
from tests.support.remote_server import NewRemote, RemoteServer, error, remote_options
from tests.support.server import free_port
from tests.support.synctl import SynctlServer

REPORT = "/_matrixd/check/report"


class CheckedServer(SynctlServer):
    """Its name is `localhost:PORT`, and TLS is spoken there by a listener of its own."""

    def __init__(self, place: DatabasePlace, authority: Authority, coturn: Coturn, *certified: str) -> None:
        self._authority = authority
        self._coturn = coturn
        self._certificate = authority.issue(*(certified or ("localhost",)))
        self.tls_port = free_port()
        super().__init__(place, server_name=f"localhost:{self.tls_port}")

    def _test_options(self) -> dict[str, Any]:
        options = super()._test_options()
        public = {
            "port": self.tls_port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "tls": True,
            "x_forwarded": False,
            "resources": [{"names": ["client", "federation"]}],
        }
        return {
            **options,
            **remote_options(self._authority),
            "listeners": [*options["listeners"], public],
            "tls_certificate_path": str(self._certificate.chain),
            "tls_private_key_path": str(self._certificate.key),
            "public_baseurl": f"https://localhost:{self.tls_port}/",
            "turn_uris": [
                f"turn:127.0.0.1:{self._coturn.port}?transport=udp",
                f"turn:127.0.0.1:{self._coturn.port}?transport=tcp",
            ],
            "turn_shared_secret": self._coturn.secret,
        }

    def check(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`synctl check`, on this configuration."""
        return self.command("synctl", "check", *arguments, "-c", str(self.config_path))

    def report(self, *arguments: str) -> dict[str, list[dict[str, Any]]]:
        """The results of `synctl check --json` by their names."""
        done = self.check("--json", *arguments)
        told = json.loads(done.stdout)
        assert done.returncode == (1 if told["state"] == "failure" else 0)
        return by_check(told)


def by_check(told: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The results of a report by their names."""
    found: dict[str, list[dict[str, Any]]] = {}
    for section in told["sections"]:
        for result in section["results"]:
            found.setdefault(result["check"], []).append(result)
    return found


def failed(results: dict[str, list[dict[str, Any]]]) -> set[str]:
    return {result["check"] for each in results.values() for result in each if result["state"] == "failure"}


@pytest.fixture(scope="module")
def coturn() -> Iterator[Coturn]:
    try:
        running = Coturn()
    except CoturnMissing as missing:
        pytest.fail(str(missing), pytrace=False)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(authority: Authority, coturn: Coturn) -> Iterator[CheckedServer]:
    """A server that runs, and is as it should be."""
    place = database.fresh("sqlite3", migrated=False)
    running = CheckedServer(place, authority, coturn)
    running.start()
    yield running
    running.end()
    place.drop()


@pytest.fixture
def broken(authority: Authority, coturn: Coturn) -> Iterator[CheckedServer]:
    """A server that does not run yet, and whose certificate is for another name."""
    place = database.fresh("sqlite3", migrated=False)
    made = CheckedServer(place, authority, coturn, "other.example")
    yield made
    made.end()
    place.drop()


def test_a_server_that_is_well(server: CheckedServer) -> None:
    results = server.report()
    assert failed(results) == set()
    wanted = (
        "configuration", "listener", "certificate", "version", "keys", "own_key", "signed_request", "encoded_path",
        "clock", "versions", "client_address",
    )  # fmt: skip
    for check in wanted:
        assert {result["state"] for result in results[check]} == {"ok"}, results[check]
    # On loopback a relay works, and nobody else can use it.
    assert ["It gives relays" in result["text"] for result in results["turn"]] == [True, True]


def test_for_people(server: CheckedServer) -> None:
    done = server.check()
    assert done.returncode == 0
    assert "The server API\n  ok      127.0.0.1:" in done.stdout
    assert f"\n{server.server_name}: 0 failures, " in done.stdout
    assert "Unhandled" not in done.stdout
    assert "Traceback" not in done.stdout


def test_another_server(server: CheckedServer, remote: RemoteServer) -> None:
    remote.knows(server)
    remote.on("GET", "/_matrix/federation/v1/query/profile", {"displayname": "Check"})
    remote.on("GET", "/_matrix/federation/v1/event/{eventId}", error(404, "M_NOT_FOUND"))
    results = server.report(remote.name)
    assert failed(results) == set()
    assert results["signed_request"][0]["state"] == results["encoded_path"][0]["state"] == "ok"
    assert "listener" not in results
    assert "turn" not in results


def test_another_server_with_a_certificate_that_has_expired(
    server: CheckedServer, new_remote: NewRemote, authority: Authority
) -> None:
    remote = new_remote(certificate=authority.issue("localhost", valid_days=-1), lenient=True)
    results = server.report(remote.name)
    assert failed(results) == {"certificate"}
    assert "certbot renew" in results["certificate"][0]["cure"]


def test_what_is_broken(broken: CheckedServer) -> None:
    # It does not run.
    results = broken.report()
    assert {"listener", "connection", "versions"} <= failed(results)
    assert "it seems not to run" in results["listener"][0]["text"]
    broken.start()
    broken.configure({"turn_shared_secret": "another"})
    results = broken.report()
    assert failed(results) == {"certificate", "versions", "turn"}
    assert "the certificate is for other.example, not for localhost" in results["certificate"][0]["text"]
    assert "certbot certonly -d localhost" in results["certificate"][0]["cure"]
    assert "`turn_shared_secret`" in results["turn"][0]["cure"]


def test_a_wrong_configuration_is_told_with_the_rest(broken: CheckedServer) -> None:
    broken.configure({"signing_key_path": "/nowhere/a.key"})
    results = broken.report()
    assert results["configuration"][0]["state"] == "failure"
    assert "signing_key_path" in results["configuration"][0]["text"]
    assert "listener" in results


def test_what_is_no_server_name(server: CheckedServer) -> None:
    done = server.check("https://matrix.org/")
    assert done.returncode == 1
    assert "is not a server name" in done.stdout


def test_the_page_and_its_report_for_admins(server: CheckedServer) -> None:
    admin, user, nobody = server.new_client(admin=True), server.new_client(), server.client()
    page = nobody.request("GET", "/_matrixd/check", documented=False)
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    assert server.server_name in page.body.decode()

    told = admin.request("GET", REPORT, documented=False).json
    assert told["is_own"] is True
    assert failed(by_check(told)) == set()
    assert {result["state"] for result in by_check(told)["signed_request"]} == {"ok"}

    assert user.request("GET", REPORT, documented=False, expect=403).errcode == "M_FORBIDDEN"
    assert nobody.request("GET", REPORT, documented=False, expect=401).errcode == "M_MISSING_TOKEN"
    wrong = admin.request("GET", REPORT, query={"server": "a b"}, documented=False, expect=400)
    assert wrong.errcode == "M_INVALID_PARAM"
    for client in (admin, user, nobody):
        client.close()
