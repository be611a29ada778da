"""Builds what is about keys of servers: the own ones, those of others, the notary, and who may call as a server."""

import logging
from collections.abc import Callable, Sequence

from matrixd.config import Config
from matrixd.config.ratelimits import RateLimit
from matrixd.core.request_signing import authorization
from matrixd.core.signing import SigningKey, VerifyKey
from matrixd.http.keys.keys_query import LIMIT, KeysQuery
from matrixd.http.keys.keys_server import KeysServer
from matrixd.http.kit.dispatch import Servers
from matrixd.master.frame import Frame, Job
from matrixd.net.federation_client import FederationClient, Sign
from matrixd.net.key_ring import KeyRing
from matrixd.net.key_sources import Notary
from matrixd.services.notary import Notary as NotaryService
from matrixd.services.own_keys import OwnKeys
from matrixd.services.server_authentication import ServerAuthentication
from matrixd.util.ratelimit import RateLimiter
from matrixd.util.turnstile import Turnstile

logger = logging.getLogger(__name__)

_HOUR = 60 * 60.0
#: Queries of the keys of other servers from one address: a join of a large room elsewhere makes some at once.
_QUERIES = RateLimit(per_second=10, burst_count=100)


def signing_keys(config: Config) -> tuple[SigningKey, ...]:
    """The keys of the signing key file; the first one signs."""
    return tuple(SigningKey.from_seed(key.version, key.encode()) for key in config.keys.signing_keys)


def request_signer(config: Config) -> Sign:
    """Signs requests to other servers."""
    server_name = config.server.server_name
    key = signing_keys(config)[0]

    def sign(destination: str, method: str, target: str, body: bytes | None) -> Sequence[bytes]:
        return (authorization(method, target, server_name, destination, key, body),)

    return sign


def build_keys(frame: Frame, client: FederationClient, contacted: Callable[[str], None]) -> KeyRing:
    """The key ring. Serves the resource `keys`, and lets routes have `Auth.SERVER`.

    `contacted` is told of each server that makes an authenticated request.
    """
    config, clock = frame.config, frame.clock
    server_name = config.server.server_name
    old = [
        VerifyKey.from_base64(old.key_id, old.key, expired_ts=old.expired_ts)
        for old in config.keys.old_signing_keys
    ]
    own_keys = OwnKeys(server_name, signing_keys(config), old, config.keys.key_refresh_interval_ms, clock)
    ring = KeyRing(
        server_name,
        own_keys.verify_keys,
        client,
        _notaries(config),
        frame.database,
        clock,
        frame.budget,
        frame.reactor.callLater,
    )
    frame.jobs.append(Job("noting whose keys are needed", _HOUR, ring.note_use))
    frame.limiters[LIMIT] = RateLimiter(_QUERIES)
    notary = NotaryService(server_name, own_keys, ring, clock, frame.budget)
    frame.serve("keys", KeysServer(own_keys).routes(), KeysQuery(notary).routes())
    authentication = ServerAuthentication(
        server_name, ring, config.federation.partners, clock, contacted
    )
    frame.servers = Servers(authentication, Turnstile(config.ratelimits.federation, clock, frame.reactor.callLater))
    return ring


def _notaries(config: Config) -> list[Notary]:
    """The trusted key servers, without those whose answers nothing proves."""
    found = []
    for server in config.keys.trusted_key_servers:
        is_proved = server.verify_keys or config.federation.verify_certificates or server.accept_keys_insecurely
        if is_proved:
            keys = {key_id: VerifyKey.from_base64(key_id, key) for key_id, key in server.verify_keys.items()}
            found.append(Notary(server.server_name, keys))
        else:
            logger.warning(
                "%s in trusted_key_servers is not asked: certificates are not verified, so it needs verify_keys",
                server.server_name,
            )
    return found
