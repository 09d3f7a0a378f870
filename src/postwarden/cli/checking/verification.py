"""What address verification does to others, and where it does not find out what is asked."""

from collections.abc import Iterator

from postwarden.cli.checking.findings import Finding, note, warning
from postwarden.cli.checking.relaying import CLOSING, flat
from postwarden.cli.checking.rows import items
from postwarden.config.settings import Settings
from postwarden.verify.place import place

_SENDER, _RECIPIENT = "reject_unverified_sender", "reject_unverified_recipient"
_EARLY = ("smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions")
_LATE = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
_LISTS = (*_EARLY, *_LATE, "smtpd_data_restrictions", "smtpd_end_of_data_restrictions")


def findings(settings: Settings) -> Iterator[Finding]:
    used: set[str] = set()
    for service in settings.services:
        if service.command == "smtpd" and service.type != "unix":
            used |= {word for name in _LISTS for word in flat(settings, name, service.key)}
            yield from _everybody(settings, service.key)
            yield from _strangers(settings, service.key)
    yield from _codes(settings, used)
    yield from _relayhost(settings, used)
    yield from _place(settings)


def _place(settings: Settings) -> Iterator[Finding]:
    problem = place(items(settings, "address_verify_map")).problem
    if problem and settings.entry("address_verify_map"):
        yield note(
            settings.origin("address_verify_map"), what=problem,
            why="what a restart would have to find there is asked for again",
            cure="set it to btree:$data_directory/verify_cache, its default",
        )  # fmt: skip


def _everybody(settings: Settings, service: str) -> Iterator[Finding]:
    for name in _LISTS:
        words = flat(settings, name, service)
        if _first(words, _SENDER) < len(words):
            yield warning(
                settings.origin(name, service), what=f"{name}: {_SENDER} for mail from everybody",
                why="each new sender is asked for at a server that did not send anything to us, if he was forged: some"
                " block who does that, and mail from systems that can't be asked waits",
                cure="name it in a table of check_sender_access for the domains that need it, or put warn_if_reject"
                " before it",
            )  # fmt: skip


def _strangers(settings: Settings, service: str) -> Iterator[Finding]:
    """Lists that are asked before the one that refuses what is not ours."""
    early = _EARLY if settings.value("smtpd_delay_reject", service) else ()
    first = settings.value("smtpd_relay_before_recipient_restrictions", service)
    for name in (*early, *(_LATE if first else _LATE[::-1])):
        words = flat(settings, name, service)
        closing = min(_first(words, word) for word in CLOSING)
        if _first(words, _RECIPIENT, warned=True) < closing:
            yield warning(
                settings.origin(name, service), what=f"{name}: {_RECIPIENT} before anything refuses to relay",
                why="anybody can have us ask any server of the world for any address, which some block",
                cure="put reject_unauth_destination before it, or move it to the end of smtpd_recipient_restrictions",
            )  # fmt: skip
        if closing < len(words):
            return


def _first(words: list[str], word: str, *, warned: bool = False) -> int:
    """Where it is asked of strangers; the number of words: nowhere. `warned`: behind warn_if_reject counts."""
    for at, other in enumerate(words):
        if other == word and (warned or at == 0 or words[at - 1] != "warn_if_reject"):
            return at
        if other in ("permit", "reject", "defer"):
            break
    return len(words)


def _codes(settings: Settings, used: set[str]) -> Iterator[Finding]:
    for word in (_SENDER, _RECIPIENT):
        name = f"{word.removeprefix('reject_')}_defer_code"
        if word in used and settings.number(name) < 300 and settings.entry(name):
            yield note(
                settings.origin(name), what=f"{name} = {settings.text(name)}",
                why="while their servers can't be asked, mail for unknown addresses is taken, and returned to whoever"
                " it pretends to come from",
                cure="remove it: the client comes again",
            )  # fmt: skip


def _relayhost(settings: Settings, used: set[str]) -> Iterator[Finding]:
    relayhost = settings.text("relayhost")
    if _SENDER in used and relayhost and settings.text("address_verify_relayhost") == relayhost:
        yield note(
            settings.origin("relayhost"), what=f"{_SENDER} asks {relayhost}",
            why="probes go where mail goes: a relay that takes mail for everybody says of no address that it does not"
            " exist",
            cure="set address_verify_relayhost = (empty), if this machine may connect to port 25 of others",
        )  # fmt: skip
