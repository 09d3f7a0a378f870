"""transport(5): which keys transport_maps is asked for, and what its answers change."""

from postwarden.mail.hostname import valid_address
from postwarden.tables.keys import domain_keys, split_extension
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found

_UNDELIVERABLE = "Address is undeliverable"


def find_transport(maps: Maps, address: str, *, delimiters: str, parents_by_dot: bool) -> Found | None:
    """`user+ext@domain`, `user@domain`, `domain`, `.domain` and so on up, `*`. Patterns see the whole address only.
    Raises TableError and Pending."""
    found = maps.find(address)
    if found is not None:
        return found
    local, _, domain = address.rpartition("@")
    bare, extension = split_extension(local, delimiters)
    if extension and (found := maps.find(f"{bare}@{domain}", part=True)):
        return found
    for key in domain_keys(domain, parents_by_dot=parents_by_dot):
        found = maps.find(key, part=True)
        if found is not None:
            return found
    return maps.find("*", part=True)


def apply_transport(value: str, transport: str, nexthop: str, domain: str) -> tuple[str, str]:
    """An empty transport keeps what was found so far, and so does then an empty next hop; a transport without a next
    hop resets it to the domain, whatever relayhost says."""
    new, _, hop = value.partition(":")
    if not new:
        return transport, hop or nexthop
    if hop:
        return new, hop
    return new, _UNDELIVERABLE if new in ("error", "retry") else domain


def valid_literal(domain: str) -> str:
    """The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]`; empty for what is no address literal (RFC 5321 4.1.3)."""
    if not domain.endswith("]"):
        return ""
    inner = domain[1:-1]
    if inner[:5].lower() == "ipv6:":
        inner = inner[5:]
        return inner if ":" in inner and valid_address(inner) else ""
    return inner if ":" not in inner and valid_address(inner) else ""
