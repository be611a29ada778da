"""A listener that speaks TLS: the whole chain is sent, old versions are refused, large bodies pass both ways."""

from __future__ import annotations

import datetime
import http.client
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import database
from tests.support.server import ServerProcess, free_port

NewServer = Callable[..., ServerProcess]
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A root, and the files of a server whose certificate an intermediate of it signed."""

    root: Path
    chain: Path
    key: Path


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *, is_ca: bool
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    root, intermediate, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    pem = serialization.Encoding.PEM
    made = Authority(tmp_path / "root.pem", tmp_path / "chain.pem", tmp_path / "server.key")
    made.root.write_bytes(_certificate("root", root, "root", root, is_ca=True).public_bytes(pem))
    made.chain.write_bytes(
        _certificate("localhost", leaf, "intermediate", intermediate, is_ca=False).public_bytes(pem)
        + _certificate("intermediate", intermediate, "root", root, is_ca=True).public_bytes(pem)
    )
    made.key.write_bytes(
        leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


@pytest.fixture
def tls_port(new_server: NewServer, authority: Authority) -> Iterator[int]:
    plain, port = free_port(), free_port()
    common = {"bind_addresses": ["127.0.0.1"], "type": "http", "x_forwarded": False}
    server = ServerProcess(
        database.fresh("sqlite3"),
        options={"tls_certificate_path": str(authority.chain), "tls_private_key_path": str(authority.key)},
    )
    server.port = plain
    server.configure(
        {
            "listeners": [
                {**common, "port": plain, "tls": False, "resources": [{"names": ["client"]}]},
                {**common, "port": port, "tls": True, "resources": [{"names": ["client"]}]},
            ]
        }
    )
    server.start()
    yield port
    server.kill()


def _connect(port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("localhost", port, timeout=20, context=context)


def test_the_chain_is_sent_and_the_name_fits(tls_port: int, authority: Authority) -> None:
    connection = _connect(tls_port, ssl.create_default_context(cafile=str(authority.root)))
    connection.request("GET", "/_matrix/client/versions")
    assert connection.getresponse().status == 200


def test_a_body_over_the_limit_gets_its_answer(tls_port: int, authority: Authority) -> None:
    connection = _connect(tls_port, ssl.create_default_context(cafile=str(authority.root)))
    connection.request("POST", "/_matrix/client/v3/login", body=b" " * (11 * 2**20))
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"M_TOO_LARGE" in answer.read()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls_are_refused(tls_port: int, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.root))
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        _connect(tls_port, context).request("GET", "/_matrix/client/versions")
