"""What a service makes of a client before anything is said: who is exempt from what."""

from msgspec import Struct

from postwarden.config.settings import Settings
from postwarden.receive.ehlo import keywords
from postwarden.receive.params import SmtpdParams
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

_MAX_KNOWN = 10_000


class Standing(Struct, frozen=True):
    limited: bool
    """Counts and rates of smtpd_client_* hold for it."""
    bare_newline: bool
    """smtpd_forbid_bare_newline_exclusions names it."""
    xclient: bool
    """It may say who the client really is."""
    xforward: bool = False
    """It may say whose message it brings."""
    discarded: frozenset[str] | None = frozenset()
    """Keywords of EHLO that are kept from it, in lower case. None: the table that says which can't be asked."""


class Clients:
    def __init__(self, settings: Settings, key: str, params: SmtpdParams, tables: Tables) -> None:
        """Raises ConfigError."""

        def match_list(name: str, items: tuple[str, ...]) -> MatchList:
            return MatchList(name, items, tables, settings.origin(name, key))

        self._exceptions = match_list("smtpd_client_event_limit_exceptions", params.smtpd_client_event_limit_exceptions)
        self._exclusions = match_list(
            "smtpd_forbid_bare_newline_exclusions", params.smtpd_forbid_bare_newline_exclusions
        )
        self._xclient = match_list("smtpd_authorized_xclient_hosts", params.smtpd_authorized_xclient_hosts)
        self._xforward = match_list("smtpd_authorized_xforward_hosts", params.smtpd_authorized_xforward_hosts)
        name = "smtpd_discard_ehlo_keyword_address_maps"
        self._keyword_maps = tables.maps(getattr(params, name), settings.origin(name, key))
        self._discarded = keywords(params.smtpd_discard_ehlo_keywords)
        self._any_limit = any(
            (
                params.smtpd_client_connection_count_limit,
                params.smtpd_client_connection_rate_limit,
                params.smtpd_client_message_rate_limit,
                params.smtpd_client_recipient_rate_limit,
                params.smtpd_client_new_tls_session_rate_limit,
            )
        )
        self._known: dict[tuple[str, str], Standing] = {}

    def standing(self, name: str, address: str) -> Standing:
        """A table that can't be asked grants nothing. Raises Pending."""
        known = self._known.get((name, address))
        if known is not None:
            return known
        xclient = _listed(self._xclient, name, address)
        standing = Standing(
            # As smtpd(8): who may say XCLIENT is not counted, since the real client is not known yet.
            limited=self._any_limit and not xclient and not _listed(self._exceptions, name, address),
            bare_newline=_listed(self._exclusions, name, address),
            xclient=xclient,
            xforward=_listed(self._xforward, name, address),
            discarded=self._keywords(address) if self._keyword_maps else self._discarded,
        )
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[name, address] = standing
        return standing

    def _keywords(self, address: str) -> frozenset[str] | None:
        """What the table says of the address counts instead of what holds for all."""
        try:
            found = self._keyword_maps.find(address)
        except TableError:
            return None
        return self._discarded if found is None else keywords(found.value.replace(",", " ").split())

    def refresh(self) -> None:
        """Read again what has changed; to be called once a second. Raises ConfigError, and keeps what it had."""
        for matches in (self._exceptions, self._exclusions, self._xclient, self._xforward):
            if matches.stale():
                matches.reload()
        self._known.clear()


def _listed(matches: MatchList, name: str, address: str) -> bool:
    try:
        return bool(matches) and matches.match_client(name, address) is not None
    except TableError:
        return False
