"""Directories that other users can get to: the roles of a gateway that root started, and the programs that they run."""

import os
import tempfile
from pathlib import Path


def passable(directory: Path) -> None:
    """Open it, and those of ours above it; what the system has for everybody stays as it is."""
    for place in (directory, *directory.parents):
        state = place.stat()
        if place == Path(tempfile.gettempdir()) or state.st_uid != os.geteuid():
            return
        if state.st_mode & 0o055 != 0o055:
            place.chmod(state.st_mode | 0o055)
