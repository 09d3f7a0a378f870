"""check: what is wrong with a configuration, and where."""

import os
import sys

from postwarden.cli import replay
from postwarden.cli.checking.everything import check
from postwarden.cli.checking.findings import Finding, as_json, rendered
from postwarden.cli.tool import Misuse, options
from postwarden.config.errors import ConfigError
from postwarden.config.settings import load

USAGE = (
    "usage: postwarden [-c DIR] check [-j] [-n]     -j: one JSON object a line     -n: without DNS\n"
    "       postwarden [-c DIR] check [-j] --replay CANDIDATE     recorded sessions, judged by another configuration"
)


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory. Findings go to standard output; exit code 1 where one is an error."""
    if "--help" in words[1:] or words[1:] == ["-h"]:
        print(USAGE)
        return 0
    if any(word.startswith(replay.OPTION) for word in words[1:]):
        return replay.main(name, words)
    directory, words = words[0], words[1:]
    try:
        chosen = {letter for letter, _ in options(words, "jn")}
    except Misuse as error:
        print(f"postwarden: fatal: check: {error}\n{USAGE}", file=sys.stderr)
        return 1
    if words:
        print(USAGE, file=sys.stderr)
        return 1
    if not os.path.isdir(directory) and directory != "/etc/postfix":
        # Without a file the built-in defaults are meant; without its directory a name was mistyped.
        print(f"postfix: fatal: open {directory}/main.cf: No such file or directory", file=sys.stderr)
        return 1
    try:
        findings = check(load(directory), ask="n" not in chosen)
    except ConfigError as error:
        text = "nothing else was looked at: the file can't be read beyond this line"
        findings = [Finding(error.origin, "error", error.text, text, "correct it, and check again")]
    if "j" in chosen:
        print(as_json(findings), end="")
    else:
        for finding in findings:
            print(rendered(finding))
    return int(any(finding.severity == "error" for finding in findings))
