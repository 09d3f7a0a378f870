"""`postwarden compat DIR`: links with our name and Postfix's, each of which answers as Postfix's command does."""

import os
import sys
from pathlib import Path

NAMES = (
    "postwarden",
    "postfix",
    "postmap",
    "postalias",
    "newaliases",
    "postconf",
    "postqueue",
    "postsuper",
    "postcat",
    "sendmail",
    "mailq",
    "postlog",
)


def main(name: str, words: list[str]) -> int:
    """Make the links in DIR (made if missing). A file there that is no link is left alone: exit 1, with its name."""
    if len(words) != 2:
        print("usage: postwarden compat DIR", file=sys.stderr)
        return 1
    directory = Path(words[1])
    # Resolved: a link that was called by its name would be replaced by one to itself.
    program = Path(sys.argv[0]).resolve() if os.path.isabs(sys.argv[0]) else Path(sys.executable).parent / "postwarden"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for link in (directory / link for link in NAMES):
            if link.resolve() == program and not link.is_symlink():
                continue
            if link.is_symlink():
                link.unlink()
            elif link.exists():
                print(f"postwarden: fatal: {link} exists and is no link: move it away first", file=sys.stderr)
                return 1
            link.symlink_to(program)
    except OSError as error:
        print(f"postwarden: fatal: {error}", file=sys.stderr)
        return 1
    return 0
