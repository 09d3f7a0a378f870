"""What it takes for a file to be there, by its name, after a power failure."""

import os


def sync_directory(path: str) -> None:
    """Make the names in it durable: those of files that were made, renamed and removed. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
