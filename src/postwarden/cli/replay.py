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
        print(f"postwarden: fatal: check: {_said(error)}", file=sys.stderr)
        return 2


def _said(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


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
        raise FileNotFoundError(2, "no such directory: the candidate's main.cf and master.cf are wanted there", other)
    running, candidate = load(directory), load(other)
    path = store_directory(running)
    _may_read(path)
    found = Comparison(Candidate(candidate))
    asyncio.run(found.run(read(path, _wanted)))
    if not found.judged:
        print(f"postwarden: fatal: check: {path}: no session is recorded", file=sys.stderr)
        return 2
    paint = Paint.of_stdout()
    _print(Report(found, running, candidate, paint), paint, json=json)
    return int(bool(found.changed))


def _may_read(path: str) -> None:
    """Raises OSError with what to do about it."""
    try:
        os.listdir(path)
    except PermissionError as error:
        text = f"{error.strerror}: what was recorded is for root and mail_owner to judge by"
        raise PermissionError(error.errno, text, path) from None
    except FileNotFoundError as error:
        text = "nothing is recorded there: a gateway with postwarden_trace = yes does it"
        raise FileNotFoundError(error.errno, text, path) from None


def _print(report: Report, paint: Paint, *, json: bool) -> None:
    """Who reads only the beginning gets the same exit code."""
    try:
        for value in report.values() if json else ():
            print(value)
        for line in () if json else report.lines():
            paint.show(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wanted(data: bytes) -> bool:
    return _JUDGED in data[:5]
