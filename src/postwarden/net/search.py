"""Names completed with the domains of resolv.conf, as res_search(3) does it (smtp_dns_resolver_options)."""

from collections.abc import Callable

from postwarden.net.resolver import Done, Resolver, as_coroutine
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer


class Searching:
    """A `Resolver`. `single`: a name of one component is first tried in this machine's domain (res_defnames); `every`:
    a name that is not found as it is, or in that domain, is tried in all domains of the search list (res_dnsrch)."""

    def __init__(self, resolver: Resolver, search: Callable[[], tuple[str, ...]], *, single: bool, every: bool) -> None:
        self._resolver, self._search = resolver, search
        self._single, self._every = single, every

    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        self._try(name, self._names(name), kind, done)

    async def query(self, name: str, kind: Kind) -> Answer:
        return await as_coroutine(self, name, kind)

    def _names(self, name: str) -> list[str]:
        domains = self._search() if self._every else self._search()[:1]
        longer = [f"{name}.{domain}" for domain in domains]
        if "." in name:
            return [name, *longer] if self._every else [name]
        return [*longer, name] if self._single else [name]

    def _try(self, asked: str, names: list[str], kind: Kind, done: Done, found: Answer | None = None) -> None:
        """What is said of the name as it was asked counts, where none of them is found."""

        def answered(answer: Answer) -> None:
            best = answer if found is None or names[0] == asked else found
            if answer.missing and len(names) > 1:
                self._try(asked, names[1:], kind, done, best)
            else:
                done(answer if not answer.missing else best)

        self._resolver.lookup(names[0], kind, answered)
