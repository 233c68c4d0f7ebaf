"""Which IP addresses belong to the public internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

IPAddress = IPv4Address | IPv6Address

_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_SPECIAL: Final = tuple(
    ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "100::/64", "2001::/23", "3fff::/20", "5f00::/16")
)
"""Networks for special purposes, some of which older releases of Python take for global."""
_LOW_BITS: Final = 0xFFFF_FFFF


def is_public(address: str | IPAddress) -> bool:
    """Whether anybody on the internet could reach this address, also when it wraps another one.

    Raises ValueError for what is no address.
    """
    number = ip_address(address) if isinstance(address, str) else address
    if isinstance(number, IPv6Address):
        if number.scope_id is not None or number.is_site_local:
            return False
        wrapped = _wrapped(number)
        if wrapped is not None:
            return is_public(wrapped)
    if any(number in network for network in _SPECIAL):
        return False
    return number.is_global and not (number.is_multicast or number.is_reserved or number.is_unspecified)


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a gateway or the kernel would connect to instead, if there is one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _COMPATIBLE or any(address in network for network in _NAT64):
        return IPv4Address(int(address) & _LOW_BITS)
    return None
