"""Certificates that are wrong in ways that the authority of the tests does not know."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.authority import Authority, Certificate
from tests.unit.net.check.homeserver import NAME


def _write(directory: Path, key: ec.EllipticCurvePrivateKey, *chain: x509.Certificate) -> Certificate:
    number = len(list(directory.iterdir()))
    made = Certificate(directory / f"{number}.pem", directory / f"{number}.key")
    pem = serialization.Encoding.PEM
    made.chain.write_bytes(b"".join(certificate.public_bytes(pem) for certificate in chain))
    made.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def _issue(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool = False,
    days_left: float = 60,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days_left))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def self_signed(directory: Path) -> Certificate:
    """By itself."""
    key = _new_key()
    return _write(directory, key, _issue(NAME, key, NAME, key))


def long_lived(directory: Path, authority: Authority, days_left: float) -> Certificate:
    """One that has been good for two months, and ends in some days."""
    key = _new_key()
    return _write(directory, key, _issue(NAME, key, "Test authority", authority._key, days_left=days_left))


def with_intermediate(directory: Path, authority: Authority, *, is_sent: bool) -> Certificate:
    """By an intermediate authority, whose certificate is sent or not."""
    key, between = _new_key(), _new_key()
    intermediate = _issue("between", between, authority._name, authority._key, is_ca=True)
    leaf = _issue(NAME, key, "between", between)
    return _write(directory, key, leaf, *([intermediate] if is_sent else []))
