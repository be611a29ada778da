"""Which addresses outbound connections may go to; asked right before connecting, with the address itself.

A name is of no use for this: who owns it can let it point somewhere else from one look-up to the next.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from matrixd.config.federation import AddressRules

#: Where a translator of the network's reaches IPv4 (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")


def is_address(host: str) -> bool:
    """Whether a host (without brackets) is an address in the usual notation, rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_allowed(rules: AddressRules, address: str) -> bool:
    """Whether a connection may go to the address. One that stands for an IPv4 address is judged as that, too."""
    return all(_fits(rules, form) for form in _forms(address))


def _fits(rules: AddressRules, address: IPv4Address | IPv6Address) -> bool:
    if any(address in network for network in rules.allowed):
        return True
    return not any(address in network for network in rules.denied)


def _forms(address: str) -> Iterator[IPv4Address | IPv6Address]:
    """What the address is for the network: the system connects to a mapped address by IPv4, others are translated."""
    given = ip_address(address.partition("%")[0])
    if isinstance(given, IPv4Address):
        yield given
        return
    if given.ipv4_mapped is not None:
        yield given.ipv4_mapped
        return
    yield given
    if given in _NAT64:
        yield IPv4Address(int(given) & 0xFFFFFFFF)
    if given.sixtofour is not None:
        yield given.sixtofour
    if given.teredo is not None:
        yield given.teredo[1]
