"""postalias(1) and newaliases(1): the index of alias files."""

import sys

from postwarden.cli import postmap
from postwarden.config.errors import ConfigError
from postwarden.config.settings import load
from postwarden.config.values import split


def main(name: str, words: list[str]) -> int:
    """Exit code 0 when it was done or found, 1 when not. `newaliases`, whose options `sendmail` has read, is given the
    configuration directory."""
    if name == "newaliases":
        return newaliases(words[0])
    return postmap.run(name, words, "Nfijnoprsuvwc:d:q:", aliases=True)


def newaliases(directory: str) -> int:
    """Make the index of each table that alias_database names anew."""
    try:
        names = split(load(directory).text("alias_database"))
    except ConfigError as error:
        print(f"newaliases: fatal: {error}", file=sys.stderr)
        return 1
    if not names:
        return 0
    return postmap.run("postalias", ["-c", directory, *names], "c:d:q:", aliases=True)
