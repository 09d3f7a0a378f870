"""Rewriting of an address to its standard form, as trivial-rewrite(8) does it in the local context."""

from postwarden.addressing.params import RewriteParams
from postwarden.mail.address import split


class Rewriter:
    def __init__(self, params: RewriteParams) -> None:
        self._params = params
        self._origin = params.myorigin
        self._domain = params.mydomain

    def rewrite(self, address: str) -> str:
        """`user@domain` for any address: bang paths swapped, `%` turned into `@`, domains completed. The null address
        stays null. An address that needs nothing is returned as the same object."""
        params = self._params
        if not address:
            return address
        if address[0] == "@":
            address = without_route(address)
        if "@" not in address:
            address = self._without_at(address)
        local, domain = split(address)
        if not domain:
            return address
        if domain[-1] == "." and len(domain) > 1:
            address = address[:-1]
            domain = domain[:-1]
        if params.append_dot_mydomain and "." not in domain and domain[0] != "[":
            address = f"{local}@{domain}.{self._domain}"
        return address

    def _without_at(self, address: str) -> str:
        params = self._params
        if params.swap_bangpath and "!" in address:
            site, _, user = address.partition("!")
            if site and user:
                return f"{user}@{site}"
        if params.allow_percent_hack and "%" in address:
            user, _, site = address.rpartition("%")
            if site:
                return f"{user}@{site}"
        if params.append_at_myorigin:
            return f"{address}@{self._origin}"
        return address


def without_route(address: str) -> str:
    """`@a,@b:user@c` -> `user@c` (RFC 5321 appendix C: a source route is ignored)."""
    route, colon, rest = address.partition(":")
    return rest if colon and route.startswith("@") and rest else address
