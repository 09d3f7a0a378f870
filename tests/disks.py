"""Small disks that a test fills."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(path: Path, *options: str) -> Iterator[Path]:
    """Something that `mount` is told by its options, at a new directory; without the right to do so the test is
    skipped."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path.mkdir()
    if subprocess.run(["mount", *options, path], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def in_memory(path: Path, options: str) -> contextlib.AbstractContextManager[Path]:
    """`options` as of tmpfs: `size=24m,nr_inodes=64`."""
    return mounted(path, "-t", "tmpfs", "-o", options, "none")


def fill(disk: Path) -> Path:
    """The file that takes all room; done again, it takes what was freed."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast
