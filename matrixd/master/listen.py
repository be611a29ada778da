"""Listeners: ports and Unix sockets, with or without TLS."""

import errno
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import CannotListenError

from matrixd.config.listeners import Listener
from matrixd.config.tls import TlsConfig
from matrixd.http.kit.dispatch import Dispatcher
from matrixd.http.kit.server import MatrixSite, TrustedProxies

logger = logging.getLogger(__name__)

_BACKLOG = 511


@dataclass(frozen=True, slots=True)
class Listening:
    """An open listener; `address` is for people."""

    address: str
    # zope's interfaces mean nothing to the type checker.
    port: Any
    #: Knows the connections; the addresses of one listener share it.
    site: MatrixSite

    async def stop(self) -> None:
        """Take no more connections."""
        stopped = self.port.stopListening()
        if isinstance(stopped, Deferred):
            await stopped


async def listen(
    reactor: Any, listener: Listener, tls: TlsConfig, dispatchers: Mapping[frozenset[str], Dispatcher]
) -> list[Listening]:
    """Open a listener on all its addresses; raises CannotListenError.

    On a machine without IPv6 it is enough that the other addresses can be had.
    """
    site = MatrixSite(dispatchers[frozenset(listener.resources)], _trusted_proxies(listener), reactor)
    opened = []
    for address, endpoint in _endpoints(reactor, listener, tls):
        try:
            opened.append(Listening(address, await endpoint.listen(site), site))
        except CannotListenError as error:
            if not _is_spare(listener, error, opened):
                raise
            logger.info("not listening on %s: %s", address, error.socketError)
    if not opened:
        raise ValueError(f"none of the addresses of port {listener.port} exists on this machine")
    return opened


def _is_spare(listener: Listener, error: CannotListenError, opened: list[Listening]) -> bool:
    """Whether the listener does without the address that `error` is about."""
    code = getattr(error.socketError, "errno", None)
    if error.interface == "0.0.0.0" and "::" in listener.bind_addresses:
        return code == errno.EADDRINUSE and bool(opened)  # the socket of :: takes IPv4 too
    return ":" in str(error.interface) and code in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _trusted_proxies(listener: Listener) -> TrustedProxies:
    if not listener.x_forwarded:
        return TrustedProxies((), False)
    return TrustedProxies(listener.trusted_proxies, listener.path is not None)


class _TlsContexts:
    """The TLS context of a listener: the whole certificate chain, TLS 1.2 and later."""

    def __init__(self, tls: TlsConfig) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.use_certificate_chain_file(str(tls.certificate_path))
        context.use_privatekey_file(str(tls.private_key_path))
        self._context = context

    def getContext(self) -> SSL.Context:
        """The context for a new connection."""
        return self._context


def _endpoints(reactor: Any, listener: Listener, tls: TlsConfig) -> list[tuple[str, Any]]:
    if listener.path is not None:
        path = str(listener.path)
        return [(f"unix:{path}", UNIXServerEndpoint(reactor, path, mode=listener.mode))]
    assert listener.port is not None
    found: list[tuple[str, Any]] = []
    for host in listener.bind_addresses:
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if listener.tls else "http"
        found.append((f"{scheme}://{shown}:{listener.port}", _endpoint(reactor, listener, tls, host)))
    return found


def _endpoint(reactor: Any, listener: Listener, tls: TlsConfig, host: str) -> Any:
    assert listener.port is not None
    if listener.tls:
        return SSL4ServerEndpoint(reactor, listener.port, _TlsContexts(tls), backlog=_BACKLOG, interface=host)
    if ":" in host:
        return TCP6ServerEndpoint(reactor, listener.port, backlog=_BACKLOG, interface=host)
    return TCP4ServerEndpoint(reactor, listener.port, backlog=_BACKLOG, interface=host)
