"""A certificate authority for servers on loopback."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import run

_DAY = datetime.timedelta(days=1)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Certificate:
    """The files of a server: its certificate and its private key, in PEM."""

    chain: Path
    key: Path


class Authority:
    """An authority with its root in the file ``root``; it is trusted by nobody who was not told so."""

    def __init__(self, name: str = "Test authority") -> None:
        self._directory = run.new_directory("authority")
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._directory / "root.pem"
        root = self._build(name, self._key.public_key(), valid_days=2)
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        root = root.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        root = root.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self.root.write_bytes(root.sign(self._key, hashes.SHA256()).public_bytes(_PEM))

    def issue(self, *names: str, valid_days: int = 2) -> Certificate:
        """A certificate for hostnames and addresses; one with ``valid_days=-1`` ended a day ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        number = len(list(self._directory.iterdir()))
        made = Certificate(self._directory / f"{number}.pem", self._directory / f"{number}.key")
        certificate = self._build(names[0], key.public_key(), valid_days=valid_days)
        certificate = certificate.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        certificate = certificate.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        certificate = certificate.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        made.chain.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        made.key.write_bytes(
            key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return made

    def _build(self, name: str, key: ec.EllipticCurvePublicKey, *, valid_days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now + valid_days * _DAY)
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
