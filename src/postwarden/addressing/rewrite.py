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

    def steps(self, address: str) -> list[tuple[str, str, str]]:
        """How `rewrite` comes to what it answers: (parameter, before, after); `trailing dot` is the syntax's."""
        found: list[tuple[str, str, str]] = []
        if not address:
            return found
        local, at, domain = address.rpartition("@")
        now = address
        if not at:
            local, routed, by = self._split(address)
            if routed is None:
                return found
            domain, now = routed, f"{local}@{routed}"
            found.append((by, address, now))
        whole = self.complete(domain)
        if whole != domain:
            by = "trailing dot" if domain[-1:] == "." else "append_dot_mydomain"
            found.append((by, now, f"{local}@{whole}"))
        return found

    def route(self, local: str) -> tuple[str, str | None]:
        """What an address without `@` means: (local part, domain), completed. None: it has no domain.

        `!` and `%` route only where the local part would be written without quotes.
        """
        local, domain, _ = self._split(local)
        return local, None if domain is None else self.complete(domain)

    def _split(self, local: str) -> tuple[str, str | None, str]:
        """(local part, domain, the parameter that says so)."""
        if is_dot_atom(local):
            if self._bang and "!" in local:
                domain, _, local = local.partition("!")
                return local, domain, "swap_bangpath"
            if self._percent and "%" in local:
                local, _, domain = local.rpartition("%")
                return local, domain, "allow_percent_hack"
        return local, self._origin or None, "append_at_myorigin"

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
