"""postcat(1): show queue files; and messages of our own queue, as the queue files that Postfix would have made."""

import contextlib
import getopt
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from postwarden.cli import tool
from postwarden.cli.postcat_printer import Options, Printer, Refusal
from postwarden.config.errors import ConfigError

_USAGE = (
    "usage: {} [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] [-h (header text)] "
    "[-q (access queue)] [-v] [file(s)...]"
)
_MEMORY = 8 << 20


def main(name: str, words: list[str]) -> int:
    """Exit code 0, also for a file that is none of a queue; 1 for one that can't be opened or is damaged."""
    try:
        options, names = parse(name, words)
        if not names:
            with _seekable(sys.stdin.buffer) as file:
                Printer(options, "stdin", file).run()
        elif options.queue:
            _print_queued(options, names)
        else:
            for path in names:
                _print_file(options, path)
    except (Refusal, tool.Refusal, ConfigError) as error:
        print(f"{name}: fatal: {error}", file=sys.stderr)
        return 1
    return 0


def parse(name: str, words: list[str]) -> tuple[Options, list[str]]:
    """Options and file names. Raises Refusal with the usage."""
    try:
        pairs, names = getopt.getopt(words, "bc:dehoqrs:v")
    except getopt.GetoptError as error:
        if "requires" in error.msg:
            print(f"{name}: option requires an argument -- '{error.opt}'", file=sys.stderr)
        else:
            print(f"{name}: invalid option -- '{error.opt}'", file=sys.stderr)
        raise Refusal(_USAGE.format(name)) from error
    options = Options(name)
    flags = {
        "-b": "body", "-d": "kinds", "-e": "envelope", "-h": "header", "-o": "offsets", "-q": "queue", "-r": "raw",
        "-v": "verbose",
    }  # fmt: skip
    for option, value in pairs:
        if option == "-c":
            options.directory = value
        elif option == "-s":
            if not (value.isascii() and value.isdigit()):
                raise Refusal(f"bad offset: {value}")
            options.start = int(value)
        else:
            setattr(options, flags[option], True)
    if not (options.body or options.envelope or options.header):
        options.body = options.envelope = options.header = True
    return options, names


def _print_file(options: Options, path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Refusal(f"open {path}: {error.strerror}") from error
    if os.path.isdir(fd):
        os.close(fd)
        print(f"{options.program}: warning: close {path}: Is a directory", file=sys.stderr)
        return
    with os.fdopen(fd, "rb") as file, _seekable(file) as seekable:
        Printer(options, path, seekable).run()


def _print_queued(options: Options, queue_ids: list[str]) -> None:
    from postwarden.cli.queued import BadQueueId, NotThere, Queued

    with contextlib.closing(Queued(options.program, options.directory)) as queue:
        for queue_id in queue_ids:
            try:
                with queue.opened(queue_id) as (path, file):
                    Printer(options, path, file).run()
            except BadQueueId:
                raise Refusal(f"bad mail queue ID: {queue_id}") from None
            except NotThere as error:
                raise Refusal(f"open queue file {queue_id}: {error}") from error


@contextlib.contextmanager
def _seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """`file`, or a copy of what comes out of a pipe, since records point forwards and back."""
    if file.seekable():
        yield file
        return
    with tempfile.SpooledTemporaryFile(_MEMORY) as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.seek(0)
        yield cast(BinaryIO, copy)
