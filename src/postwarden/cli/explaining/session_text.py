"""A session that was played, as text for people and as values for programs."""

import os
from collections.abc import Iterator
from typing import Any

from postwarden.cli.explaining import tables
from postwarden.cli.explaining.advice import cure, cure_unverified, cure_without_policy, reads
from postwarden.cli.explaining.paint import Paint
from postwarden.cli.explaining.session import Asked, Client, Exchange, Played
from postwarden.config.parameters import find
from postwarden.config.settings import Settings
from postwarden.mail.decision import Decision, Verdict
from postwarden.mail.verified import DEFER, FAIL, SUBJECT, TODO

_REFUSING = (Verdict.REJECT, Verdict.DEFER)
_FAULTS = ("4.3.0", "4.3.5")
"""Status of a table that can't be asked, and of a configuration that can't be followed."""


def deciding(exchange: Exchange) -> Asked | None:
    """Who gave the reply of a refused command: policy names it. What has no place in a list has none."""
    found = [asked for asked in exchange.asked if asked.fault or _refuses(asked.said)]
    if exchange.by is None:
        return found[-1] if found else None
    named = [asked for asked in found if asked.said is not None and asked.said.rule == exchange.by.rule]
    return named[-1] if named else Asked("", "", exchange.by.rule, exchange.by)


def _refuses(decision: Decision | None) -> bool:
    return decision is not None and decision.verdict in _REFUSING


def refused(played: Played) -> list[Exchange]:
    """Exchanges that end with a refusal."""
    return [exchange for exchange in played.exchanges if exchange.code >= 400]


class SessionText:
    def __init__(self, settings: Settings, client: Client, service: str, paint: Paint) -> None:
        self._settings = settings
        self._client = client
        self._service = service
        self._paint = paint

    def lines(self, played: Played) -> Iterator[str]:
        paint = self._paint
        for exchange in refused(played):
            asked = deciding(exchange)
            depends = asked is not None and _verified(asked).partition(" ")[0] == TODO
            word = "depends, and is put off while nothing is known" if depends else "is refused"
            yield paint.bad(f"{exchange.command} {word}: {exchange.reply}")
            yield from self._why(exchange)
        if not refused(played):
            end = "accepted" if played.envelope is not None or self._client.message is None else "accepted, and kept"
            yield paint.good(f"{end}: {played.exchanges[-1].reply}")
            yield from self._unasked(played)
            if played.envelope is not None:
                yield f"  to be delivered to {', '.join(one.address for one in played.envelope.recipients)}"
        name, address = played.client_name, self._client.address
        yield ""
        found = self._settings.find_service(self._service)
        where = f" ({found.origin})" if found is not None else ""
        yield f"client {name}[{address}], service {self._service}{where}"
        yield from self._unheeded()
        for exchange in played.exchanges:
            yield from self._exchange(exchange)

    @staticmethod
    def _unasked(played: Played) -> Iterator[str]:
        for server in played.unasked:
            yield f"  unless policy server {server} objects: it was not asked, since it may count or greylist who asks"
            yield "  (--ask-policy asks it)"

    def _unheeded(self) -> Iterator[str]:
        """What the command line says of the client and this service does not take."""
        for given, option, name, wrong in (
            (bool(self._client.login), "--login", "smtpd_sasl_auth_enable", ("no",)),
            (self._client.tls, "--tls", "smtpd_tls_security_level", ("", "none")),
        ):
            value = self._settings.text(name, self._service)
            if given and value in wrong and not (option == "--tls" and self._tls_otherwise()):
                origin = _at(str(self._settings.origin(name, self._service)))
                yield f"  {option} could not happen here: {f'{name} = {value}'.rstrip()} ({origin})"

    def _tls_otherwise(self) -> bool:
        names = ("smtpd_tls_wrappermode", "smtpd_use_tls", "smtpd_enforce_tls")
        return any(self._settings.text(name, self._service) == "yes" for name in names)

    def _why(self, exchange: Exchange) -> Iterator[str]:
        asked = deciding(exchange)
        if asked is None and exchange.own is not None:
            rule = exchange.own
            yield f"  by {rule.name} {rule.argument}".rstrip() + (f", {rule.origin}" if rule.origin.file else "")
            yield f"  to change it: {cure_without_policy(rule)}"
            if rule.name in ("smtpd_tls_cert_file", "smtpd_tls_chain_files") and os.geteuid() != 0:
                yield "  unless the key is only closed to you: ask as root"
            return
        if asked is None:
            yield "  no restriction decided that: it is the protocol, a limit, or an address that nobody has"
            return
        rule = tables.named(self._settings, asked.rule, self._service)
        name = f"{rule.name} {rule.argument}".strip()
        yield f"  by {name}{f' of {asked.list}' if asked.list else ''}, {_at(str(rule.origin))}"
        if asked.fault:
            yield f"  {asked.fault}; until that is mended, mail that needs it is put off"
            return
        recipients = [one for one in self._client.recipients if exchange.command == f"RCPT TO:<{one}>"]
        domain = (*recipients, *self._client.recipients, "")[0].rpartition("@")[2]
        networks = _at(str(self._settings.origin("mynetworks", self._service)))
        unknown = asked.later is not None and asked.rule.name.startswith(("reject_unknown_", "permit_"))
        verified = _verified(asked)
        status = verified.partition(" ")[0]
        if status == TODO:
            yield "  it depends: the gateway asks the address's own server, which explain does not"
        elif status == DEFER and (why := cure_unverified(verified)):
            yield f"  it could not be found out: {why}"
        elif unknown or status in (DEFER, FAIL):
            yield "  it could not be found out: the client may come again, and whoever was asked has to answer"
        elif asked.said is not None and asked.said.reply is not None and asked.said.reply.status in _FAULTS:
            yield "  it could not be found out: until that is mended, mail that needs it is put off"
        else:
            yield f"  to change it: {cure(asked.rule, self._client.address, networks, domain, verified)}"
        for line in (*self._missed(exchange, asked), *self._facts(asked)):
            yield f"  {line}"

    def _missed(self, exchange: Exchange, decider: Asked) -> Iterator[str]:
        """What before it would have let the client in, and did not."""
        for asked in exchange.asked:
            if asked is decider:
                return
            if asked.list == decider.list and asked.said is None and asked.rule.name.startswith("permit"):
                for line in self._facts(asked):
                    yield f"{asked.rule.name} did not fit: {line}"

    def _facts(self, asked: Asked) -> Iterator[str]:
        for name in reads(asked.rule.name, _verified(asked)):
            if find(name) is not None and (self._settings.text(name) or self._settings.entry(name, self._service)):
                value = self._settings.text(name, self._service)
                yield f"{name} = {value} ({_at(str(self._settings.origin(name, self._service)))})"
        for look in asked.looks:
            if look.found is not None:
                where = f" ({look.found.origin})" if look.found.origin is not None else ""
                yield f"{look.table} has {look.key}: {look.found.value}{where}"
        for fact in dict.fromkeys(asked.facts):
            yield f"{fact.subject} {fact.key}: {fact.answer}"
        for fact in asked.said.facts if asked.said is not None else ():
            if fact.subject == SUBJECT:
                continue  # `Remembered` has told it
            yield f"{fact.subject} {fact.key}".rstrip() + f": {fact.answer}".rstrip(": ")

    def _exchange(self, exchange: Exchange) -> Iterator[str]:
        paint = self._paint
        first, *rest = exchange.reply.split("\n")
        yield f"  {paint.strong(exchange.command)}"
        decider = deciding(exchange) if exchange.code >= 400 else None
        parameter = ""
        for asked in exchange.asked:
            if asked.list != parameter:
                parameter = asked.list
                yield f"      {parameter}"
            mark = "=>" if asked is decider else "  "
            line = f"      {mark} {_named(asked):40} {_verdict(asked):8} {asked.rule.origin}"
            yield paint.bad(line) if asked is decider else line
            for fact in self._facts(asked) if asked is not decider else ():
                yield paint.faint(f"             {fact}")
        said = first if not rest else f"{first} ... {rest[-1]}"
        yield f"    {paint.bad(said) if exchange.code >= 400 else said}"

    def values(self, played: Played) -> dict[str, Any]:
        """For -j."""
        return {
            "service": self._service,
            "client": {"name": played.client_name, "address": self._client.address},
            "accepted": not refused(played),
            "unasked": list(played.unasked),
            "exchanges": [self._values(exchange) for exchange in played.exchanges],
            "recipients": [one.address for one in played.envelope.recipients] if played.envelope is not None else None,
            "log": list(played.log),
        }

    def _values(self, exchange: Exchange) -> dict[str, Any]:
        decider = deciding(exchange) if exchange.code >= 400 else None
        return {
            "command": exchange.command,
            "reply": exchange.reply,
            "asked": [
                {
                    "stage": asked.stage,
                    "list": asked.list,
                    "restriction": _named(asked),
                    "origin": str(asked.rule.origin),
                    "verdict": _verdict(asked),
                    "decided": asked is decider,
                    "facts": list(self._facts(asked)),
                }
                for asked in exchange.asked
            ],
        }


def _named(asked: Asked) -> str:
    return f"{asked.rule.name} {asked.rule.argument}".strip()


def _verified(asked: Asked) -> str:
    """Whether the address takes mail, as facts have it; empty: that is not what was asked."""
    facts = asked.said.facts if asked.said is not None else ()
    return next((fact.answer for fact in facts if fact.subject == SUBJECT), "")


def _verdict(asked: Asked) -> str:
    if asked.fault:
        return "fault"
    if asked.later is not None and asked.decision is None:
        return "put off"
    return "-" if asked.decision is None else asked.decision.verdict.value


def _at(origin: str) -> str:
    return "its default" if origin == "default" else origin
