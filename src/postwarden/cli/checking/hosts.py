"""Hosts that mail is sent to by name: whether DNS has them. All are asked at once, and no answer is waited for long."""

import asyncio
from collections.abc import Iterator, Mapping

from postwarden.cli.checking.findings import Finding, error, note, warning
from postwarden.cli.checking.rows import items, maps_rows
from postwarden.cli.checking.transports import Use, uses
from postwarden.config.settings import Settings
from postwarden.mail.hostname import valid_address
from postwarden.net.clock import LoopClock
from postwarden.net.names import Names, open_names
from postwarden.routing.destination import Destination, parse_destination, split_nexthop
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

_PATIENCE = 4.0
"""Seconds for all answers together."""
_MOST = 200
"""Names; more are a provider's routing table, and checking that is another program's work."""


def findings(settings: Settings, *, ask: bool = True, patience: float = _PATIENCE) -> Iterator[Finding]:
    """`ask`: look them up in DNS, too."""
    wanted: dict[Destination, Use] = {}
    for use in destinations(settings):
        for text in split_nexthop(use.nexthop):
            try:
                destination = parse_destination(text, "smtp", _ports(settings))
            except ValueError as fault:
                yield error(
                    use.origin,
                    what=f"{use.said}: bad next hop {text}: {fault}",
                    why="the mail waits and is then returned",
                    cure="write host, [host], [host]:port or [address]:port",
                )
                continue
            yield from _ourselves(settings, destination, use)
            if not valid_address(destination.host) and destination.host.isascii():
                wanted.setdefault(destination, use)
    if ask and wanted:
        yield from _looked_up(settings, dict(list(wanted.items())[:_MOST]), patience)
        if len(wanted) > _MOST:
            origin = list(wanted.values())[_MOST].origin
            yield note(origin, what=f"only {_MOST} of {len(wanted)} next hops were looked up in DNS")


def destinations(settings: Settings) -> Iterator[Use]:
    """Next hops of SMTP and LMTP that somebody wrote."""
    commands = {s.name: s.command for s in settings.services if s.type != "inet"}
    for name in ("relayhost", "smtp_fallback_relay", "lmtp_fallback_relay"):
        for text in items(settings, name):
            yield Use(name, "smtp", text, settings.origin(name))
    for row in maps_rows(settings, "sender_dependent_relayhost_maps"):
        if row.value.upper() != "DUNNO":
            yield Use(f"sender_dependent_relayhost_maps, {row.key}", "smtp", row.value, row.origin)
    for use in uses(settings):
        command = commands.get(use.transport or settings.text("default_transport").partition(":")[0], "")
        nexthop = use.nexthop.removeprefix("inet:") if command == "lmtp" else use.nexthop
        if command in ("smtp", "lmtp") and nexthop and "$" not in nexthop and not nexthop.startswith("unix:"):
            yield Use(use.said, use.transport, nexthop, use.origin)


def _ports(settings: Settings) -> Mapping[str, int]:
    found = {"smtp": 25, "lmtp": 24, "submission": 587, "smtps": 465, "submissions": 465}
    for text in items(settings, "known_tcp_ports"):
        name, _, number = text.partition("=")
        if number.isdecimal():
            found[name] = int(number)
    return found


def _ourselves(settings: Settings, destination: Destination, use: Use) -> Iterator[Finding]:
    if destination.port == 25 and destination.host.lower() == settings.text("myhostname").lower():
        yield error(
            use.origin,
            what=f"{use.said} sends mail to {destination.host}, which is this machine",
            why="mail loops back to myself: it is returned",
            cure="name the server that is meant, or remove the entry",
        )


def _looked_up(settings: Settings, wanted: Mapping[Destination, Use], patience: float) -> Iterator[Finding]:
    answers = asyncio.run(_ask(settings, list(wanted), patience))
    silent = [(d, use) for d, use in wanted.items() if answers.get(d) is None]
    for destination, use in wanted.items():
        if answers.get(destination) is False:
            make = error if use.said == "relayhost" else warning
            yield make(
                use.origin,
                what=f"{use.said}: DNS does not know the host {destination.host}",
                why="mail for it waits, or is returned to its sender",
                cure="correct the name"
                if destination.literal
                else f"correct the name; [{destination.host}] would be the host itself, without a look at its MX",
            )
    if silent:
        hosts = list(dict.fromkeys(d.host for d, _ in silent))
        shown = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
        yield note(
            silent[0][1].origin,
            what=f"DNS gave no answer in {patience:.0f} seconds for {shown}",
            why="whether mail can go there is not known",
            cure="try again when the network is there, or leave this out: check -n",
        )


async def _ask(settings: Settings, wanted: list[Destination], patience: float) -> dict[Destination, bool | None]:
    """True: it is there; False: it is not; None: nobody says."""
    loop = asyncio.get_running_loop()
    names = open_names(loop, LoopClock(loop), items(settings, "postwarden_dns_servers"))
    mx = settings.text("disable_dns_lookups") != "yes"
    tasks = {d: asyncio.ensure_future(_exists(names, d, mx=mx)) for d in wanted}
    await asyncio.wait(tasks.values(), timeout=patience)
    found = {d: task.result() if task.done() and not task.exception() else None for d, task in tasks.items()}
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    names.close()
    return found


async def _exists(names: Names, destination: Destination, *, mx: bool) -> bool | None:
    answers: list[Answer] = []
    if mx and not destination.literal:
        answers.append(await names.dns.query(destination.host, Kind.MX))
    for kind in (Kind.A, Kind.AAAA):
        if not any(answer.outcome is Outcome.FOUND for answer in answers):
            answers.append(await names.native.query(destination.host, kind))
    if any(answer.outcome is Outcome.FOUND for answer in answers):
        return True
    return False if all(answer.missing for answer in answers) else None
