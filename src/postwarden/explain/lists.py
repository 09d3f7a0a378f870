"""Lists in files, line by line, under the rules by which local delivery believes them."""

import os
import stat

SIZE_LIMIT = 64 << 20


class ListError(Exception):
    """Local delivery would not use it either, and the mail would wait; the text says why."""


def list_lines(path: str) -> list[tuple[int, str]]:
    """(number, text) of the lines of an :include: file that say something. Raises ListError."""
    if not path.startswith("/"):
        raise ListError(f"{path}: a relative path")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise ListError(f"{path}: {error.strerror}") from error
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ListError(f"{path}: not a regular file")
        if status.st_mode & stat.S_IWOTH:
            raise ListError(f"{path}: everybody can write it")
        return numbered(file.read(SIZE_LIMIT), path)


def numbered(data: bytes, path: str) -> list[tuple[int, str]]:
    """As `addressing.aliases.include_lines`, with the numbers of the lines. Raises ListError."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ListError(f"{path}: not UTF-8") from error
    stripped = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]
