"""Whose address is this? What counts as one client where each may only have so much.

Used by credentials and lookups.
"""

from __future__ import annotations

import ipaddress


def end_site(client: str) -> str:
    """An IPv4 address itself; of IPv6 the network that one customer gets (RFC 6177), not each of its addresses."""
    try:
        address = ipaddress.IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False).network_address)
