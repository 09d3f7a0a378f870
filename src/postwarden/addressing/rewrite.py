"""Rewriting of an address to its standard form, as trivial-rewrite(8) does it in the local context."""

from postwarden.addressing.params import RewriteParams
from postwarden.mail.address import is_dot_atom


class Rewriter:
    def __init__(self, params: RewriteParams) -> None:
        self.params = params
        self._bang = params.swap_bangpath
        self._percent = params.allow_percent_hack
        self._origin = params.myorigin if params.append_at_myorigin else ""
        self._parent = params.mydomain if params.append_dot_mydomain else ""

    def rewrite(self, address: str) -> str:
        """`user@domain` for any address: bang paths swapped, `%` turned into `@`, domains completed. The null address
        stays null. An address that needs nothing is returned as the same object."""
        if not address:
            return address
        local, at, domain = address.rpartition("@")
        if not at:
            local, whole = self.route(address)
            if whole is None:
                return local
            return f"{local}@{whole}"
        whole = self.complete(domain)
        return address if whole is domain else f"{local}@{whole}"

    def route(self, local: str) -> tuple[str, str | None]:
        """What an address without `@` means: (local part, domain), completed. None: it has no domain.

        `!` and `%` route only where the local part would be written without quotes.
        """
        domain: str | None = None
        if is_dot_atom(local):
            if self._bang and "!" in local:
                domain, _, local = local.partition("!")
            elif self._percent and "%" in local:
                local, _, domain = local.rpartition("%")
        if domain is None:
            domain = self._origin or None
        return local, None if domain is None else self.complete(domain)

    def complete(self, domain: str) -> str:
        """The domain with mydomain appended where it has no dot, without a dot at its end. `user@`, `user@.` and
        `user@example..` stay the broken forms that they are, for the sake of what is said of them later."""
        if self._parent and domain and "." not in domain and domain[0] != "[":
            return f"{domain}.{self._parent}"
        return without_dot(domain)


def without_dot(domain: str) -> str:
    if domain[-1:] == "." and len(domain) > 1 and domain[-2] != ".":
        return domain[:-1]
    return domain
