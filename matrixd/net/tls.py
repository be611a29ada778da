"""TLS to other servers: whom this server believes, and that the certificate is for the right name.

https://spec.matrix.org/v1.19/server-server-api/#tls
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, ServiceID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from matrixd.config.federation import FederationConfig
from matrixd.core.globs import compile_glob
from matrixd.net.addresses import is_address

_MINIMUM: Final = {
    "1": SSL.TLS1_VERSION,
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}

#: What OpenSSL's verification says most often, in an admin's words (x509_vfy.h).
_PROBLEMS: Final = {
    9: "the certificate is not valid yet (or a clock is wrong)",
    10: "the certificate has expired",
    18: "the certificate is signed by itself, not by an authority",
    19: "the chain ends at an authority that is not trusted",
    20: "the certificate's issuer is not known: the chain is not complete, or its authority is not trusted",
    21: "the certificate's issuer is not known: the server sends no chain",
    24: "a certificate of the chain is no authority's",
    26: "the certificate is not made for servers",
    66: "the certificate's key is too weak",
    68: "the certificate's signature is too weak",
}


class ClientTls:
    """Makes what verifies a server's certificate during the handshake."""

    def __init__(self, federation: FederationConfig) -> None:
        """Raises ValueError if a file of `federation_custom_ca_list` holds no certificates."""
        self._verify = federation.verify_certificates
        self._unverified = [compile_glob(name.lower()) for name in federation.certificate_verification_whitelist]
        # One context for all connections: reading the system's authorities takes some 20 ms.
        self._context = _context(federation)

    def is_verified(self, *names: str) -> bool:
        """Whether certificates are verified for a server that is known by these names."""
        return self._verify and not any(fits(name.lower()) for fits in self._unverified for name in names)

    def handshake(self, tls_name: str, *, verify: bool) -> "Handshake":
        """For one connection: the certificate must be for `tls_name`, a host name or an address without brackets."""
        return Handshake(self._context, tls_name.rstrip("."), verify=verify)


@implementer(IOpenSSLClientConnectionCreator)
class Handshake:
    """What TLS with one server needs, and what came of it.

    certificate: what the server showed, None before. problem: a sentence if it was refused.
    """

    def __init__(self, context: SSL.Context, tls_name: str, *, verify: bool) -> None:
        self.tls_name = tls_name
        self.certificate: X509 | None = None
        self.problem: str | None = None
        self._context = context
        self._verify = verify
        self._connection: SSL.Connection | None = None

    @property
    def version(self) -> str | None:
        """The negotiated version, such as `TLSv1.3`."""
        return None if self._connection is None else self._connection.get_protocol_version_name()

    @property
    def chain(self) -> Sequence[X509]:
        """The certificates that the server sent, its own first; empty before."""
        return () if self._connection is None else self._connection.get_peer_cert_chain() or ()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Called by Twisted."""
        connection = SSL.Connection(self._context, None)
        # "SNI should be sent for the certificate which is expected, unless that is an IP address"
        if not is_address(self.tls_name):
            connection.set_tlsext_host_name(self.tls_name.encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER if self._verify else SSL.VERIFY_NONE, self._judge)
        self._connection = connection
        return connection

    def _judge(self, connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
        if depth == 0:
            self.certificate = certificate
        if not self._verify:
            return True
        if not ok:
            self.problem = self.problem or _PROBLEMS.get(error, f"the certificate is refused (X.509 error {error})")
        elif depth == 0:
            self.problem = self.problem or _name_problem(certificate, self.tls_name)
        return self.problem is None


def names_of(certificate: X509) -> tuple[str, ...]:
    """The names and addresses that a certificate is for, at most 20."""
    try:
        patterns = extract_patterns(certificate)
    except (CertificateError, ValueError):
        return ()
    values = [getattr(pattern, "pattern", None) for pattern in patterns[:20]]
    texts = (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value) for value in values if value)
    return tuple(text[:100] for text in texts)


def _name_problem(certificate: X509, tls_name: str) -> str | None:
    try:
        expected: ServiceID = IPAddress_ID(str(ip_address(tls_name))) if is_address(tls_name) else DNS_ID(tls_name)
        verify_service_identity(extract_patterns(certificate), [expected], [])
    except (VerificationError, CertificateError, ValueError):
        names = ", ".join(names_of(certificate)) or "no name"
        return f"the certificate is for {names}, not for {tls_name}"
    return None


def _context(federation: FederationConfig) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(_MINIMUM[federation.minimum_tls_version])
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    if federation.minimum_tls_version in ("1", "1.0", "1.1"):
        # OpenSSL's lowest security level is the only one that still has these versions.
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    if not federation.custom_ca_files:
        context.set_default_verify_paths()
    for file in federation.custom_ca_files:
        try:
            context.load_verify_locations(str(file))
        except SSL.Error:
            raise ValueError(f"federation_custom_ca_list: {file} holds no PEM certificate") from None
    return context
