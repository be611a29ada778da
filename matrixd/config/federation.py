"""Other servers: with whom to talk, and to which addresses the server may connect at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from matrixd.config.options import Options
from matrixd.config.server_name import remote_server_name
from matrixd.config.values import IPNetwork, boolean, choice, duration_ms, each, ip_range, number, path, text
from matrixd.core.acl import ServerAcl

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
WEEK_MS = 7 * 24 * 60 * MINUTE_MS

PRIVATE_RANGES: tuple[IPNetwork, ...] = tuple(
    map(
        ip_network,
        # loopback, private networks and addresses that no public server has (RFC 6890 and its registries)
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24"),
            *("169.254.0.0/16", "192.88.99.0/24", "198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24"),
            *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("::1/128", "fe80::/10", "fc00::/7", "2001:db8::/32", "ff00::/8", "fec0::/10"),
        ),
    )
)
UNROUTABLE: tuple[IPNetwork, ...] = (ip_network("0.0.0.0/32"), ip_network("::/128"))


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Which addresses outbound connections may go to; an address that is allowed is allowed even if it is denied."""

    denied: tuple[IPNetwork, ...]
    allowed: tuple[IPNetwork, ...]


class Partners:
    """The servers to talk to: `server_name in partners`.

    allowed: the only ones; None for all. denied: those with whom not to, `*` and `?` for wildcards, without port.
    """

    def __init__(self, allowed: frozenset[str] | None, denied: Sequence[str]) -> None:
        self.allowed = allowed
        self._acl = ServerAcl({"allow": ["*"], "deny": list(denied)})

    def __contains__(self, server_name: object) -> bool:
        if not isinstance(server_name, str) or (self.allowed is not None and server_name not in self.allowed):
            return False
        return self._acl.allows(server_name)


@dataclass(frozen=True, slots=True)
class FederationConfig:
    """Federation."""

    partners: Partners | None
    """The servers to talk to; None for all."""
    addresses: AddressRules
    verify_certificates: bool
    certificate_verification_whitelist: tuple[str, ...]
    """Server names, `*` for a wildcard, whose certificates are not verified."""
    custom_ca_files: tuple[Path, ...]
    """PEM files of the only authorities that are trusted; empty for the system's."""
    minimum_tls_version: str
    """`1`, `1.1`, `1.2` or `1.3`."""
    allow_profile_lookup: bool
    allow_device_name_lookup: bool
    client_timeout_ms: int
    """How long one request may take."""
    destination_min_retry_interval_ms: int
    destination_retry_multiplier: float
    destination_max_retry_interval_ms: int


def read(options: Options) -> FederationConfig:
    """Reads the options of federation and of outbound connections."""
    section = options.section("federation")
    insecure = options.read("use_insecure_ssl_client_just_for_testing_do_not_use", boolean, False)
    return FederationConfig(
        partners=_partners(options),
        addresses=_address_rules(options),
        verify_certificates=options.read("federation_verify_certificates", boolean, True) and not insecure,
        certificate_verification_whitelist=options.read(
            "federation_certificate_verification_whitelist", each(text), ()
        ),
        custom_ca_files=_custom_cas(options),
        minimum_tls_version=options.read(
            "federation_client_minimum_tls_version", choice("1", "1.0", "1.1", "1.2", "1.3"), "1.2"
        ),
        allow_profile_lookup=options.read("allow_profile_lookup_over_federation", boolean, True),
        allow_device_name_lookup=options.read("allow_device_name_lookup_over_federation", boolean, False),
        client_timeout_ms=section.read("client_timeout", duration_ms(minimum=SECOND_MS), MINUTE_MS),
        destination_min_retry_interval_ms=section.read(
            "destination_min_retry_interval", duration_ms(minimum=SECOND_MS), 10 * MINUTE_MS
        ),
        destination_retry_multiplier=section.read("destination_retry_multiplier", number(minimum=1), 2.0),
        destination_max_retry_interval_ms=section.read(
            "destination_max_retry_interval", duration_ms(minimum=SECOND_MS), WEEK_MS
        ),
    )


def _partners(options: Options) -> Partners | None:
    allowed = options.read("federation_domain_whitelist", each(remote_server_name), None)
    denied = options.read("federation_domain_denylist", each(text), ())
    if allowed is None and not denied:
        return None
    return Partners(None if allowed is None else frozenset(allowed), denied)


def _address_rules(options: Options) -> AddressRules:
    older = options.read("federation_ip_range_blacklist", each(ip_range), PRIVATE_RANGES)
    denied = options.read("ip_range_blacklist", each(ip_range), older)
    return AddressRules(
        denied=(*UNROUTABLE, *denied),
        allowed=options.read("ip_range_whitelist", each(ip_range), ()),
    )


def _custom_cas(options: Options) -> tuple[Path, ...]:
    files = options.read("federation_custom_ca_list", each(path), ())
    for file in files if options.findings.read_files else ():
        if not file.is_file():
            cure = "Correct the path, or remove it from the list."
            options.wrong("federation_custom_ca_list", f"{file} is no file.", cure)
    return files
