"""What single servers need that others don't, by their address: EHLO keywords that are not believed, workarounds for a
firewall that rewrites SMTP, replies that are put right."""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from postwarden.config.settings import Settings
from postwarden.deliver.smtp.policies import Fetch
from postwarden.mail.decision import Pending
from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

Answer = str | TableError | None
NO_ESMTP, DELAY_DOT = "disable_esmtp", "delay_dotcrlf"
WORKAROUNDS = (NO_ESMTP, DELAY_DOT)
"""In the order of the log."""
_REMEMBERED = 50


def behind_firewall(banner: str) -> bool:
    """A Cisco PIX with "smtp fixup" shows `220 ****…`; Postfix takes a banner without any text for the same."""
    return not banner.strip("20 *\t\n")


def workarounds(words: str) -> frozenset[str]:
    """Those that exist, of a list of names; what is none is passed over, as by smtp(8)."""
    return frozenset(words.lower().replace(",", " ").split()) & frozenset(WORKAROUNDS)


class ByAddress:
    """Tables that are asked for the address of a server, or the path of its socket."""

    def __init__(self, maps: Maps, name: str, *, fetch: Fetch | None = None) -> None:
        """`name`: of the parameter. `fetch` awaits what a slow table was asked; None: none of them is slow."""
        self._maps, self.name = maps, name
        self._fetch = fetch

    def find(self, host: Host, done: Callable[[Answer], None]) -> None:
        """`done` gets the value, None where there is none, or why nobody knows. It may be called at once."""
        try:
            found = self._maps.find(host.path or host.address)
        except Pending as pending:
            if self._fetch is None:
                done(TableError(self.name, "no answer at once"))
            else:
                self._fetch(pending.fetch, partial(self.find, host, done))
        except TableError as error:
            done(error)
        else:
            done(None if found is None else found.value)


class ReplyFilter:
    """smtp_reply_filter: each line of a server's replies, and what is read instead. Raises TableError: a reply that
    can't be judged must not be acted on."""

    def __init__(
        self, maps: Maps, say: Callable[[str], None], warn: Callable[[str], None], *, name: str = "reply filter"
    ) -> None:
        """`name`: of the parameter."""
        self._maps, self._say, self._warn, self._name = maps, say, warn, name
        self._made: dict[str, str] = {}
        """Which entries gave the last results."""
        self._fault = ""

    def __call__(self, server: str, line: bytes) -> bytes:
        """`server` is `name[address]:port`; `line` is without its end, and so is the result."""
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        try:
            found = self._maps.find(text)
        except Pending as error:
            self._fault = "no answer at once"
            self._warn(f"{server}: no answer at once to a reply: {text}")
            raise TableError("reply filter", "no answer at once") from error
        except TableError as error:
            self._fault = str(error)
            self._warn(f"{server}: {error}")
            raise
        if found is None:
            return line
        self._say(f'{server}: replacing server reply "{text}" with "{found.value}"')
        value = found.value.replace("\n", " ")
        while len(self._made) >= _REMEMBERED:
            del self._made[next(iter(self._made))]
        self._made[value] = f"{found.table} has {found.key}{f' ({found.origin})' if found.origin else ''}"
        return value.encode()

    def told(self, status: Status) -> Status:
        """With the entry, where the words of the server are none of its own."""
        if status.cause:
            return status
        origin = next((entry for value, entry in self._made.items() if value and value in status.remote_reply), "")
        if self._fault and status.text.startswith("local data error"):
            origin = self._fault
        return replace(status, cause=self._name, origin=origin) if origin else status


class Quirks:
    """Of one transport. None where nothing is configured."""

    def __init__(
        self,
        discard: ByAddress | None = None,
        firewall: ByAddress | None = None,
        replies: ReplyFilter | None = None,
    ) -> None:
        self.discard, self.firewall, self.replies = discard, firewall, replies


def open_quirks(
    settings: Settings,
    service: str,
    tables: Tables,
    *,
    command: str,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    fetch: Fetch | None = None,
) -> Quirks | None:
    """`command` is smtp or lmtp; `say` and `warn` get sentences for the log. Raises ConfigError."""

    def maps(name: str) -> Maps:
        return tables.maps(settings.items(name, service), settings.origin(name, service))

    def by_address(name: str) -> ByAddress | None:
        opened = maps(name)
        return ByAddress(opened, name, fetch=fetch) if opened else None

    keyword = "lhlo" if command == "lmtp" else "ehlo"
    discard = by_address(f"{command}_discard_{keyword}_keyword_address_maps")
    firewall = by_address(f"{command}_pix_workaround_maps")
    replies = maps(f"{command}_reply_filter")
    if not (discard or firewall or replies):
        return None
    return Quirks(
        discard, firewall, ReplyFilter(replies, say, warn, name=f"{command}_reply_filter") if replies else None
    )
