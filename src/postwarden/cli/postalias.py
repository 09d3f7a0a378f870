"""postalias(1) and newaliases(1): the index of alias files."""

import getopt
import os
import sys

from postwarden.cli import postmap
from postwarden.config.errors import ConfigError
from postwarden.config.settings import load
from postwarden.config.values import split

EX_USAGE = 64
_SENDMAIL = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx"


def main(name: str, words: list[str]) -> int:
    """Exit code 0 when it was done or found, 1 when not."""
    if name == "newaliases":
        return newaliases(words)
    return postmap.run(name, words, "c:d:finoNpq:rsuvw", aliases=True)


def newaliases(words: list[str]) -> int:
    """Make the index of each table that alias_database names anew; the options of sendmail(1) are taken and unused,
    but `-C DIR`. Anything else is refused with 64 (EX_USAGE), before a file is touched."""
    directory = os.environ.get("MAIL_CONFIG", "") or "/etc/postfix"
    try:
        options, rest = getopt.getopt(words, _SENDMAIL)
    except getopt.GetoptError as error:
        print(f"newaliases: fatal: {error}; usage: newaliases [-C DIR]", file=sys.stderr)
        return EX_USAGE
    if rest:
        print(
            "newaliases: fatal: alias initialization mode requires no recipient; for another configuration: -C DIR",
            file=sys.stderr,
        )
        return EX_USAGE
    directory = dict(options).get("-C", directory)
    try:
        names = split(load(directory).text("alias_database"))
    except ConfigError as error:
        print(f"newaliases: fatal: {error}", file=sys.stderr)
        return 1
    if not names:
        return 0
    return postmap.run("postalias", ["-c", directory, *names], "c:", aliases=True)
