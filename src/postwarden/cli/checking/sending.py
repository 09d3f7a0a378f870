"""What keeps mail from leaving this machine, or from its users."""

import os
import shlex
import shutil
from collections.abc import Iterator

from postwarden.cli.checking.findings import Finding, error, note, warning
from postwarden.cli.checking.rows import maps_rows
from postwarden.config.settings import Settings

SEARCHED = "/usr/bin:/bin"
"""PATH of the programs that a delivery runs."""
_LOOPBACK = frozenset(("localhost", "loopback-only", "127.0.0.1", "::1", "[::1]", "[127.0.0.1]"))
_SHELL = frozenset("|&;<>()$`\"'*?[#~=%\n")


def findings(settings: Settings) -> Iterator[Finding]:
    yield from _dead_ends(settings)
    yield from _names(settings)
    yield from _interfaces(settings)
    yield from _mailbox_command(settings)
    yield from _level(settings)


def _dead_ends(settings: Settings) -> Iterator[Finding]:
    for name, whose, domains in (
        ("default_transport", "every domain that is not named in another class", ""),
        ("relay_transport", "relay_domains", "relay_domains"),
        ("virtual_transport", "virtual_mailbox_domains", "virtual_mailbox_domains"),
        ("local_transport", "mydestination", "mydestination"),
    ):
        value = settings.text(name)
        transport, _, text = value.partition(":")
        if transport not in ("error", "retry", "discard") or not settings.entry(name):
            continue
        origin = settings.origin(name)
        what = f"{name} = {value}"
        deed = {"error": "is returned to its sender", "retry": "waits and is then returned", "discard": "is deleted"}
        why = f"mail to {whose} {deed[transport]}"
        if text or (domains and not settings.text(domains) and name != "relay_transport"):
            yield note(origin, what=what, why=why, cure="remove the line if that is not meant")
            continue
        said = settings.text("relayhost") if name == "default_transport" else ""
        why += f": nothing is sent, whatever else is configured; relayhost = {said} is never asked" if said else (
            ": nothing is sent out" if name == "default_transport" else ""
        )  # fmt: skip
        if transport == "error":
            why += ", and Postfix gives no other reason than the domain, as in (gmail.com)"
        cure = f"remove the line (the default is {_default(name)}), or say why: {name} = {transport}:5.7.1 a sentence"
        overridden = settings.text("transport_maps") or settings.text("sender_dependent_default_transport_maps")
        make = warning if overridden and name == "default_transport" else error
        yield make(origin, what=what, why=why, cure=cure)


def _default(name: str) -> str:
    return {"default_transport": "smtp", "relay_transport": "relay", "virtual_transport": "virtual"}.get(
        name, "local:$myhostname"
    )


def _names(settings: Settings) -> Iterator[Finding]:
    name = settings.text("myhostname").lower()
    origin = settings.origin("myhostname")
    cure = "set myhostname to the name that DNS has for this machine's public address, such as mail.example.com"
    if name == "localhost" or name.endswith((".localdomain", ".localhost")):
        by_relay = settings.text("relayhost") or not settings.entry("myhostname")
        yield (warning if by_relay else error)(
            origin,
            what=f"myhostname = {name} is no public name",
            why=f'it is what this machine says in HELO and puts behind "@" of its users: other servers refuse'
            f" it, and nobody can answer to user@{settings.text('myorigin')}",
            cure=cure,
        )
    elif "." not in name:
        yield warning(
            origin,
            what=f"myhostname = {name} has no domain",
            why="many servers refuse a HELO name that is not fully qualified",
            cure=cure,
        )


def _interfaces(settings: Settings) -> Iterator[Finding]:
    entry = settings.entry("inet_interfaces")
    if entry is None:
        return
    words = settings.text("inet_interfaces").replace(",", " ").lower().split()
    listening = [
        s for s in settings.services if s.type == "inet" and s.command == "smtpd" and ":" not in s.name.rstrip("]")
    ]
    if words and set(words) <= _LOOPBACK and listening:
        yield note(
            entry.origin,
            what=f"inet_interfaces = {entry.value}",
            why="only programs on this machine can connect: no other host can hand in mail here, for its own users or"
            " for others; mail that leaves is not affected by it",
            cure="set inet_interfaces = all if other hosts shall send mail to this one",
        )


def _mailbox_command(settings: Settings) -> Iterator[Finding]:
    commands = [("mailbox_command", settings.text("mailbox_command"), settings.origin("mailbox_command"))]
    rows = maps_rows(settings, "mailbox_command_maps")
    commands += [(f"mailbox_command_maps, {row.key}:", row.value, row.origin) for row in rows]
    for said, command, origin in commands:
        program = program_of(command)
        if program and missing(program):
            searched = "" if "/" in program else f" ({SEARCHED})"
            yield error(
                origin,
                what=f"{said} needs {program}, which is not there{searched}",
                why="mail for local users, and every report of undeliverable mail that comes back to them, can't be"
                " delivered",
                cure=f"install {os.path.basename(program)}, or remove the line: mail then goes to the mailboxes in"
                f" {settings.text('mail_spool_directory')}",
            )


def program_of(command: str) -> str:
    """The program that a command begins with; empty where a shell would have to find that out."""
    try:
        word = shlex.split(command)[0]
    except (ValueError, IndexError):
        return ""
    return "" if _SHELL & set(word) or word in ("exec", "if", "test", ".", "cd", "{", "!") else word


def missing(program: str) -> bool:
    return shutil.which(program, path=SEARCHED) is None


def _level(settings: Settings) -> Iterator[Finding]:
    if settings.entry("compatibility_level") is None:
        yield warning(
            settings.origin("compatibility_level"),
            what="compatibility_level is not set",
            why="the defaults of old hold: smtpd_relay_restrictions is empty, relay_domains is $mydestination,"
            " mynetworks_style is subnet, append_dot_mydomain is yes",
            cure="set compatibility_level = 3.6 and look at what `postconf -d` then says of these",
        )
