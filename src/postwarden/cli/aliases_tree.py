"""`postwarden aliases graph` and `lint`."""

import os
import sys

import msgspec

from postwarden.cli.aliases_show import problem_text
from postwarden.config.settings import Settings
from postwarden.deliver.local.ports import Identity
from postwarden.explain.drawing import drawn
from postwarden.explain.gateway import Gateway
from postwarden.explain.lint import Linter
from postwarden.explain.mailboxes import AsMyself
from postwarden.explain.opening import open_walker
from postwarden.explain.svg import picture
from postwarden.federation.sources import configured, load_federation
from postwarden.roles.identity import RootIdentity, SystemAccounts

FINDINGS = 2


def graph(settings: Settings, address: str, *, svg: bool) -> int:
    """Draw the tree of one address. Raises ConfigError, TableError."""
    walker = open_walker(settings, _gateway(settings), SystemAccounts(), _identity())
    root = walker.walk(address)
    if svg:
        sys.stdout.buffer.write(picture(root).encode())
        return 0
    plain = not writes_lines(sys.stdout.encoding)
    for line in drawn(root, plain=plain):
        print(line)
    return 0


def lint(settings: Settings, file: str, *, as_json: bool) -> int:
    """Print the findings on `file`, or on all alias tables that main.cf names. Raises ConfigError, TableError."""
    linter = Linter(settings, _gateway(settings), SystemAccounts(), _identity())
    problems = linter.file(os.path.abspath(file)) if file else linter.tables()
    for problem in problems:
        if as_json:
            line = {"file": problem.origin.file, "line": problem.origin.line, "severity": problem.severity}
            print(msgspec.json.encode(line | {"text": problem.text}).decode())
        else:
            print(problem_text(problem))
    return FINDINGS if problems else 0


def _gateway(settings: Settings) -> Gateway:
    organization = load_federation(settings).organization if configured(settings) else ()
    return Gateway(settings, organization=organization)


def _identity() -> Identity:
    return RootIdentity(0, 0) if os.geteuid() == 0 else AsMyself()


def writes_lines(encoding: str) -> bool:
    try:
        "├└│─".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
