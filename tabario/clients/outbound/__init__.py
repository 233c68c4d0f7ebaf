"""Requests to addresses that somebody else chose: never into the private network, never further than asked."""

from tabario.clients.outbound.addresses import is_public
from tabario.clients.outbound.client import NoAnswer, OutboundClient, Reply
from tabario.clients.outbound.network import AddressRefused, Network, Resolve, resolve
from tabario.clients.outbound.rules import AddressRules

__all__ = [
    "AddressRefused",
    "AddressRules",
    "Network",
    "NoAnswer",
    "OutboundClient",
    "Reply",
    "Resolve",
    "is_public",
    "resolve",
]
