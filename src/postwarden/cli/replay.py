"""check --replay: who would be treated differently by another configuration? Recorded sessions are judged again;
nothing is sent, and nobody on the network is asked."""

import asyncio
import os
import sys

from postwarden.cli.explaining.paint import Paint
from postwarden.cli.explaining.store import store_directory
from postwarden.cli.replaying.candidate import Candidate
from postwarden.cli.replaying.changes import Comparison
from postwarden.cli.replaying.report import Report
from postwarden.config.errors import ConfigError
from postwarden.config.settings import load
from postwarden.trace.files import read

OPTION = "--replay"
USAGE = """\
usage: postwarden [-c DIR] check [-j] --replay CANDIDATE
       judges the sessions that DIR's gateway recorded by the restriction lists of CANDIDATE/main.cf and master.cf;
       exit code 0: nobody is treated differently, 1: somebody is, 2: it can't be told; -j: one JSON object a line
"""
_JUDGED = b"\xa1j"
"""How the records begin that tell of a judgement, after the length of their array."""


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the running configuration's directory."""
    candidate, flags = _parse(words[1:])
    if not candidate or flags - {"-j", "-n"}:
        print(USAGE, end="", file=sys.stderr)
        return 2
    try:
        return _replay(words[0], candidate, json="-j" in flags)
    except (ConfigError, OSError) as error:
        print(f"postwarden: fatal: check: {error}", file=sys.stderr)
        return 2


def _parse(words: list[str]) -> tuple[str, set[str]]:
    """The candidate's directory, and what else was said."""
    directory, flags = "", set()
    rest = iter(words)
    for word in rest:
        if word == OPTION:
            directory = next(rest, "")
        elif word.startswith(f"{OPTION}="):
            directory = word.partition("=")[2]
        else:
            flags.add(word)
    return directory, flags


def _replay(directory: str, other: str, *, json: bool) -> int:
    if not os.path.isdir(other):
        raise FileNotFoundError(2, os.strerror(2), other)
    running, candidate = load(directory), load(other)
    path = store_directory(running)
    os.listdir(path)
    found = Comparison(Candidate(candidate))
    asyncio.run(found.run(read(path, _wanted)))
    if not found.judged:
        print(f"postwarden: fatal: check: {path}: no session is recorded", file=sys.stderr)
        return 2
    paint = Paint.of_stdout()
    report = Report(found, running, candidate, paint)
    for value in report.values() if json else ():
        print(value)
    for line in () if json else report.lines():
        paint.show(line)
    return int(bool(found.changed))


def _wanted(data: bytes) -> bool:
    return _JUDGED in data[:5]
