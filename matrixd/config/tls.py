"""The certificate for listeners with `tls: true`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from matrixd.config.listeners import Listener
from matrixd.config.options import Options
from matrixd.config.values import path


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Where certificate and key stand. Both are set, readable and belong together if a listener has `tls: true`."""

    certificate_path: Path | None
    """PEM, the server's own certificate first, then the chain."""
    private_key_path: Path | None
    """PEM, without a passphrase."""


def read(options: Options, listeners: tuple[Listener, ...], now: datetime) -> TlsConfig:
    """Reads the section; `now` is compared with the certificate's end."""
    tls = TlsConfig(options.read("tls_certificate_path", path, None), options.read("tls_private_key_path", path, None))
    if any(listener.tls for listener in listeners):
        _check(options, tls, now)
    return tls


def _check(options: Options, tls: TlsConfig, now: datetime) -> None:
    for name in ("tls_certificate_path", "tls_private_key_path"):
        if options.value(name) is None:
            options.wrong(name, "is missing, and a listener has `tls: true`.", "Write the path of a PEM file.")
    if not options.findings.read_files or not tls.certificate_path or not tls.private_key_path:
        return
    certificate = _certificate(options, tls.certificate_path)
    key = _public_part_of_key(options, tls.private_key_path)
    if certificate is None:
        return
    if certificate.not_valid_after_utc <= now.astimezone(UTC):
        end = certificate.not_valid_after_utc.date().isoformat()
        options.wrong("tls_certificate_path", f"has a certificate that ended on {end}.", "Renew the certificate.")
    ours = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key is not None and key != ours:
        cure = "Give the key that the certificate was made for, and put the server's own certificate first in its file."
        options.wrong("tls_private_key_path", "does not belong to the certificate.", cure)


def _certificate(options: Options, file: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0]
    except OSError as error:
        options.wrong(
            "tls_certificate_path", f"{file} cannot be read: {error.strerror}.", "Check path and permissions."
        )
    except ValueError:
        options.wrong("tls_certificate_path", f"{file} holds no PEM certificate.", "Give the full chain as PEM.")
    return None


def _public_part_of_key(options: Options, file: Path) -> bytes | None:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except OSError as error:
        options.wrong(
            "tls_private_key_path", f"{file} cannot be read: {error.strerror}.", "Check path and permissions."
        )
    except (ValueError, TypeError):
        cure = "Give a PEM key without a passphrase."
        options.wrong("tls_private_key_path", f"{file} holds no usable PEM key.", cure)
    return None
