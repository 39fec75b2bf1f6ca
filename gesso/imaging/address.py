"""Which network addresses a stranger may make the server connect to."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a carrier's customers; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's wire server
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
"""All of the global unicast space that is handed out. Loopback, mapped and compatible IPv4, NAT64 (64:ff9b::/96),
unique local, link-local, site-local and multicast addresses lie outside."""

_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 carries an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_ISATAP = 0x5EFE
"""Bits 32 to 47 of an interface identifier whose last 32 bits are an IPv4 address (RFC 5214)."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Lets public addresses through, and what the operator has opened: host names and networks."""

    hosts: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def opening(cls, allowed: Iterable[str]) -> "Guard":
        """`allowed` holds host names, addresses and networks (`10.0.0.0/8`).

        Raises:
            ValueError: what looks like a network is none.
        """
        entries = [entry.strip().lower() for entry in allowed]
        networks = tuple(ipaddress.ip_network(entry) for entry in entries if "/" in entry or _is_address(entry))
        return cls(frozenset(map(_bare, entries)), networks)

    def admits(self, host: str, address: str) -> bool:
        """Whether a connection to `address` may be opened for a URL that says `host`."""
        if _bare(host) in self.hosts:
            return True
        parsed = ipaddress.ip_address(address)
        return is_public(parsed) or any(parsed in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Whether `address` belongs to a host on the open internet, and not to one that only this network can reach."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.scope_id or address not in _PUBLIC_V6 or (int(address) >> 32) & 0xFFFF == _ISATAP:
        return False
    return not any(address in network for network in _NOT_PUBLIC_V6)


def _bare(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
