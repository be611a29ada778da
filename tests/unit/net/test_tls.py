"""Whose certificates are believed, and for which names."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.route import Place, Route
from matrixd.net.tls import ClientTls, names_of
from tests.support.authority import Authority
from tests.unit.net.loopback import Net, answer, answering, config, failure

FINE = answering(answer(b"{}"))


def refusal(net: Net, port: int, host: str = "localhost", **changes: Any) -> RemoteError:
    return failure(net, net.client(**changes).get(f"{host}:{port}", "/"))


@pytest.mark.parametrize(
    ("host", "certified", "server_name"),
    [
        ("localhost", "localhost", "localhost"),
        ("x.a.example", "*.a.example", "x.a.example"),
        ("A.Example", "a.example", "A.Example"),
        ("127.0.0.1", "127.0.0.1", None),
    ],
)
def test_a_certificate_for_the_name_or_address(
    net: Net, host: str, certified: str, server_name: str | None
) -> None:
    server = net.serve(FINE, certified)
    assert net.run(net.client().get(f"{host}:{server.port}", "/")) == {}
    # "unless that certificate is expected to be an IP address in which case SNI … should not be sent"
    assert server.server_names == [server_name]


@pytest.mark.parametrize(
    ("host", "certified"),
    [
        ("localhost", "other.example"),
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("a.example", "*.a.example"),
    ],
)
def test_a_certificate_for_something_else(net: Net, host: str, certified: str) -> None:
    server = net.serve(FINE, certified)
    error = refusal(net, server.port, host)
    assert error.kind is FailureKind.TLS
    assert error.error.endswith(f"the certificate is for {certified}, not for {host}")
    assert server.asked == []


def test_a_certificate_that_has_expired(net: Net) -> None:
    server = net.serve_with(net.authority.issue("localhost", valid_days=-1), FINE)
    error = refusal(net, server.port)
    assert (error.kind, error.error) == (
        FailureKind.TLS,
        f"localhost port {server.port}: the certificate has expired",
    )


def test_another_authority(net: Net) -> None:
    server = net.serve_with(Authority("Somebody").issue("localhost"), FINE)
    error = refusal(net, server.port)
    assert error.kind is FailureKind.TLS
    assert "the certificate's issuer is not known" in error.error
    # The system's authorities do not know the test's either.
    assert refusal(net, net.serve(FINE).port, authority=None).kind is FailureKind.TLS


def test_both_authorities_of_a_list_are_believed(net: Net) -> None:
    other = Authority("Somebody")
    client = net.client(custom_ca_files=(net.authority.root, other.root))
    for server in (net.serve(FINE), net.serve_with(other.issue("localhost"), FINE)):
        assert net.run(client.get(f"localhost:{server.port}", "/")) == {}


@pytest.mark.parametrize("listed", ["localhost", "local*", "LOCALHOST"])
def test_names_whose_certificates_are_not_verified(net: Net, listed: str) -> None:
    server = net.serve_with(Authority("Somebody").issue("other.example", valid_days=-1), FINE)
    client = net.client(certificate_verification_whitelist=("x.example", listed))
    assert net.run(client.get(f"localhost:{server.port}", "/")) == {}
    assert failure(net, client.get(f"a.example:{server.port}", "/")).kind is FailureKind.TLS


def test_no_certificate_is_verified_if_the_option_says_so(net: Net) -> None:
    server = net.serve_with(Authority("Somebody").issue("other.example"), FINE)
    assert net.run(net.client(verify_certificates=False).get(f"localhost:{server.port}", "/")) == {}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(("minimum", "is_taken"), [("1.3", False), ("1.2", True), ("1", True)])
def test_the_oldest_version(net: Net, minimum: str, is_taken: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = net.serve(FINE, context=context)
    asking = net.client(minimum_tls_version=minimum).get(f"localhost:{server.port}", "/")
    if is_taken:
        assert net.run(asking) == {}
    else:
        assert failure(net, asking).kind is FailureKind.TLS


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_versions_of_old(net: Net) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = net.serve(FINE, context=context)
    assert net.run(net.client(minimum_tls_version="1.1").get(f"localhost:{server.port}", "/")) == {}
    assert refusal(net, server.port).kind is FailureKind.TLS


def test_a_port_that_speaks_no_tls(net: Net) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 This is not TLS\r\n\r\n" * 10)
            connection.recv(1000)

    threading.Thread(target=greet, daemon=True).start()
    error = refusal(net, listening.getsockname()[1])
    listening.close()
    assert error.kind is FailureKind.TLS
    assert "TLS handshake" in error.error


def test_a_file_without_certificates(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing\n")
    with pytest.raises(ValueError, match=r"federation_custom_ca_list: .*empty\.pem"):
        ClientTls(config(custom_ca_files=(file,)))


def test_what_a_handshake_showed(net: Net) -> None:
    server = net.serve(FINE, "localhost", "127.0.0.1")
    route = Route("localhost", [Place("localhost", server.port)], "localhost", "localhost")
    opened = net.run(net.connector().open(route, route.places[0], ["127.0.0.1"]))
    assert opened.handshake.certificate is not None
    assert names_of(opened.handshake.certificate) == ("localhost", "127.0.0.1")
    assert (opened.handshake.version, opened.handshake.problem) == ("TLSv1.3", None)
    assert opened.address == "127.0.0.1"
    net.call(opened.connection.abort_now)
