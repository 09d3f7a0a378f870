"""What `postwarden aliases` prints."""

import os
import sys
import time

import msgspec

from postwarden.config.errors import Problem
from postwarden.config.settings import Settings
from postwarden.federation.installing import Change
from postwarden.federation.merger import Report
from postwarden.federation.sources import Federation, Pull, Source
from postwarden.federation.store import GONE, Happening, SourceState, Store
from postwarden.mail.events import printable

MOST_CHANGES = 1000
MERGED_WITH_ERRORS = 2


def problem_text(problem: Problem) -> str:
    """`file:line: severity: text`."""
    where = problem.origin
    place = f"{where}: " if where.file and where.line else f"{where.file}: " if where.file else ""
    return printable(f"{place}{problem.severity}: {problem.text}")


def merged(report: Report, federation: Federation, *, dry_run: bool = False, verbose: bool = False) -> int:
    """Print the plan; the exit code."""
    for problem in report.problems:
        print(problem_text(problem), file=sys.stderr)
    shown = report.changes if verbose else report.changes[:MOST_CHANGES]
    for change in shown:
        for line in change_lines(change):
            print(printable(line))
    if len(shown) < len(report.changes):
        print(f"... and {len(report.changes) - len(shown)} more (-v shows all)")
    if dry_run:
        print(f"{_count(report)}; nothing was changed")
    elif report.install:
        print(f"{_count(report)}; install {report.install} is in {federation.table}")
    else:
        print(f"{_count(report)}; nothing is new")
    return MERGED_WITH_ERRORS if report.errors else 0


def change_lines(change: Change) -> list[str]:
    lines = []
    if change.before is not None:
        lines.append(f"- {change.name}: {change.before.value}  ({change.before.source})")
    if change.after is not None:
        lines.append(f"+ {change.name}: {change.after.value}  ({change.after.source})")
    return lines


def _count(report: Report) -> str:
    return f"{report.entries} entries, {len(report.changes)} changed"


def sources(federation: Federation, settings: Settings, *, verbose: bool) -> None:
    print(f"{federation.file}: {len(federation.sources)} sources, merged into {federation.table}")
    if federation.virtual_table:
        print(f"  entries with a domain: {federation.virtual_table}")
    for source in federation.sources:
        print(f"\n{source.name}")
        for line in _described(source):
            print(f"  {line}")
        if verbose:
            for line in _setup(source, settings):
                print(f"  {line}")


def _described(source: Source) -> list[str]:
    arrives = source.arrives
    lines = [f"{'pull' if isinstance(arrives, Pull) else 'push':<10} {arrives}"]
    if isinstance(arrives, Pull):
        lines += [f"{'host key':<10} {key.type} {key.fingerprint}" for key in arrives.host_keys]
    for what, items in (
        ("names", source.names), ("domains", source.domains), ("hosts", source.hosts), ("files", source.files),
        ("includes", source.includes), ("commands", source.commands),
    ):  # fmt: skip
        lines.append(f"{what:<10} {', '.join(items) or 'none'}")
    lines.append(f"{'priority':<10} {source.priority}")
    lines.append(f"{'held if':<10} more than {source.shrink_limit} percent of the names go")
    return lines


def _setup(source: Source, settings: Settings) -> list[str]:
    """What has to stand where in OpenSSH's files."""
    arrives = source.arrives
    if isinstance(arrives, Pull):
        return [
            f"on {arrives.host}, in the authorized_keys of {arrives.user}:",
            f'    restrict,command="internal-sftp -R" <the text of {arrives.key}.pub>',
        ]
    program = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "postwarden")
    given = "" if settings.config_directory == "/etc/postfix" else f"-c {settings.config_directory} "
    return [
        f"here, in the authorized_keys of the owner of {os.path.dirname(arrives.path)}, for `ssh gateway < aliases`:",
        f'    restrict,command="{program} {given}aliases put {source.name}" <public key of {source.name}>',
        "or, in sshd_config, for scp and sftp:",
        f"    Match User <account of {source.name}>",
        f"        ForceCommand internal-sftp -d {os.path.dirname(arrives.path)}",
        "        AllowTcpForwarding no",
        "        X11Forwarding no",
        "        PermitTTY no",
        "        PasswordAuthentication no",
    ]


def status(federation: Federation, store: Store, *, as_json: bool) -> int:
    """Exit code 2 where something needs an eye."""
    state = store.state()
    rows = [(source, state.sources.get(source.name, SourceState())) for source in federation.sources]
    if as_json:
        for source, own in rows:
            line = {"source": source.name, "arrives": str(source.arrives), "state": word(own), "version": own.good}
            line |= {"held": own.held, "arrived": int(own.arrived), "seen": int(own.seen), "why": why(own)}
            print(msgspec.json.encode(line).decode())
    else:
        print(f"{'source':<16} {'version':>7} {'age':>8} {'seen':>12}  state")
        for source, own in rows:
            version = str(own.good) if own.good > 0 else "-"
            seen = f"{_age(own.seen)} ago" if own.seen else "never"
            print(f"{source.name:<16} {version:>7} {_age(own.arrived):>8} {seen:>12}  {word(own)}")
            if why(own):
                print(printable(f"{'':<16} {why(own)}"))
        print(f"install {state.install} in {federation.table}" if state.install else "nothing is installed yet")
    return MERGED_WITH_ERRORS if any(word(own) != "current" for _, own in rows) else 0


def word(own: SourceState) -> str:
    """The state of a source in a word."""
    if own.held:
        return "held"
    if own.unfit:
        return "unfit"
    if own.fault:
        return "unreachable"
    if own.good == GONE:
        return "gone"
    if not own.good:
        return "awaited"
    return "current"


def why(own: SourceState) -> str:
    return own.why_held if own.held else own.unfit or own.fault


def _age(when: float) -> str:
    """In the largest unit of which there are two."""
    if not when:
        return "-"
    seconds = max(int(time.time() - when), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def history(happened: list[Happening], flags: set[str]) -> None:
    for one in happened:
        if "json" in flags:
            print(msgspec.json.encode(one).decode())
            continue
        what = f"install {one.version}" if one.what == "installed" else f"{one.source} {_version(one.version)}"
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(one.time))}  {what:<20} {one.what:<11}"
        if one.entries:
            line += f" {one.entries} entries"
        line += f"  by {one.who}"
        if one.versions:
            line += f"  of {', '.join(f'{name} {_version(v)}' for name, v in one.versions.items())}"
        print(printable(line + (f"  ({one.why})" if one.why else "")))


def _version(number: int) -> str:
    return "gone" if number == GONE else str(number) if number else "-"
