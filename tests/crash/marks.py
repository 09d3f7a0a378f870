"""A story of single file operations with marks in it, and the disks that a crash after each step leaves behind."""

from collections.abc import Iterator
from pathlib import Path

from postwarden.testing.spool import Step, Wreck

MARKS = frozenset(("may", "must", "gone", "never"))
"""What the world has learned: from now on something `may` be seen, it `must`, it need not (`gone`), or it can't be any
more (`never`)."""


def expected(steps: list[Step]) -> tuple[set[str], set[str]]:
    """What must be seen after these steps, and what may be."""
    must: set[str] = set()
    may: set[str] = set()
    for step in steps:
        if step.name == "may":
            may.add(step.path)
        elif step.name == "must":
            must.add(step.path)
        elif step.name == "gone":
            must.discard(step.path)
        elif step.name == "never":
            may.discard(step.path)
    return must, may


def wrecks(steps: list[Step], base: Path, way: str) -> Iterator[tuple[Path, set[str], set[str], str]]:
    """The disk after each step, what must and what may be seen on it, and where in the story that is."""
    for count in range(1, len(steps) + 1):
        if steps[count - 1].name in MARKS and count < len(steps):
            continue  # the disk is as it was a step before, and the demands after a mark are the stronger ones
        root = base / str(count)
        root.mkdir()
        Wreck(steps[:count]).build(str(root), way)
        while count < len(steps) and steps[count].name in MARKS:
            count += 1
        last = steps[count - 1]
        yield root, *expected(steps[:count]), f"{way}, after {count} steps, the last {last.name} {last.path}"
