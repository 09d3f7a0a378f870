"""Users of a test's own: two runs of the tests on one machine never make, use or delete the same one."""

import contextlib
import os
import subprocess
from collections.abc import Iterator


def account_name(word: str) -> str:
    """As long as this process lives, nobody else's."""
    return f"{word}{os.getpid()}"


@contextlib.contextmanager
def account(name: str, *options: str) -> Iterator[None]:
    """`options` are useradd's. Needs root."""
    subprocess.run(["useradd", *options, name], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["userdel", "-f", name], check=False, capture_output=True)


@contextlib.contextmanager
def accounts(*names: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(account(name, "--no-create-home"))
        yield
