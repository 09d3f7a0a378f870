"""Fast flush: for which sites a client may ask that their mail is tried now (ETRN), and who is told so."""

import contextlib
from collections.abc import Callable

from postwarden.config.settings import Settings
from postwarden.mail.reply import Reply
from postwarden.receive.params import SmtpdParams
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

_BEGUN = Reply(250, "", "Queuing started")


class Sites:
    """`tell` hands the site to the courier; False: nobody hears it."""

    def __init__(self, settings: Settings, key: str, params: SmtpdParams, tables: Tables) -> None:
        """Raises ConfigError."""
        name = "fast_flush_domains"
        parents = name in params.parent_domain_matches_subdomains
        self._served = MatchList(name, params.fast_flush_domains, tables, settings.origin(name, key), parents=parents)

    def look_up(self, site: str) -> None:
        """Raises Pending where `flush` would: a site is asked for before anything is done."""
        with contextlib.suppress(TableError):
            self._served.match_domain(site)

    def flush(self, site: str, tell: Callable[[str], bool] | None) -> Reply:
        """Raises Pending; nobody was told then."""
        try:
            if self._served.match_domain(site) is None:
                return Reply(459, "", f"<{site}>: service unavailable")
        except TableError:
            return _unable(site)
        return _BEGUN if tell is not None and tell(site.lower()) else _unable(site)


def _unable(site: str) -> Reply:
    return Reply(458, "", f"<{site}>: unable to queue messages")
