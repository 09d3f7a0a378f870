"""Files that aliases name: who can write them, and whether they are what they are taken for."""

import os
import re
import shlex
import stat
from collections.abc import Iterator

_ADDRESS_LINE = re.compile(
    rb"[A-Za-z0-9_.+=\\\"-]+(@[A-Za-z0-9.-]+)?(\s*,\s*[A-Za-z0-9_.+=-]+(@[A-Za-z0-9.-]+)?)*,?\s*\Z"
)
_LOOKED_AT = 4096


def writable(path: str, *, what: str) -> Iterator[str]:
    """How others than its owner and root can change a file: its mode, its group, a directory above it."""
    try:
        status = os.stat(path)
    except OSError:
        status = None
    if status is not None and status.st_mode & stat.S_IWOTH:
        yield f"{what} {path}: everybody can write it"
    directory = os.path.dirname(path.rstrip("/"))
    while True:
        why = _loose(directory)
        if why:
            yield f"{what} {path}: {why}"
            return
        if directory in ("/", ""):
            return
        directory = os.path.dirname(directory)


def _loose(directory: str) -> str:
    try:
        status = os.stat(directory)
    except OSError:
        return ""
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return f"everybody can exchange what is in {directory}"
    return ""


def list_problems(path: str) -> Iterator[tuple[str, str]]:
    """(severity, text) of an :include: file."""
    if not path.startswith("/"):
        yield "error", f":include:{path} is a relative path: the mail waits"
        return
    try:
        status = os.stat(path)
    except OSError as error:
        yield "error", f":include:{path}: {error.strerror}: the mail waits"
        return
    if not stat.S_ISREG(status.st_mode):
        yield "error", f":include:{path} is not a regular file: the mail waits"
    if status.st_mode & stat.S_IWOTH:
        yield "error", f":include:{path}: everybody can write it: the mail waits"
    elif status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        yield "warning", f":include:{path}: group {status.st_gid} can write it, and so decide who receives this mail"
    for text in writable(path, what="list"):
        if "everybody can write it" not in text:
            yield "error", text


def looks_like_list(path: str) -> bool:
    """A file of addresses and not of mail: an mbox begins with `From `."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
        data = file.read(_LOOKED_AT)
    lines = [line.strip() for line in data.split(b"\n")[: -1 if len(data) == _LOOKED_AT else None]]
    said = [line for line in lines if line and not line.startswith(b"#")]
    return bool(said) and all(map(_ADDRESS_LINE.match, said))


def program_problem(command: str) -> str:
    """Why a command can't run; empty: it can, or the shell decides."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"|{command}: {str(error).lower()}"
    if not words:
        return "an empty command"
    program = words[0]
    if not program.startswith("/"):
        return ""
    if not os.path.exists(program):
        return f"dead end: there is no program {program}"
    if not os.access(program, os.X_OK):
        return f"dead end: {program} can't be executed"
    return next(writable(program, what="program"), "")
