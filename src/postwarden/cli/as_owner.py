"""As whom root makes an index: what is in a directory of somebody else is theirs to exchange."""

import os
import stat
from collections.abc import Callable


class AsOwner:
    """As root, do it as the owner of the source. A source of root's in a directory where others may write is said:
    they can put another in its place, or another index. What is made there is made without following a link."""

    def __init__(self, source: str, warn: Callable[[str], None], *, keep_privileges: bool = False) -> None:
        self._target: tuple[int, int] | None = None
        self._before = os.getegid(), os.getgroups()
        if os.geteuid() != 0 or keep_privileges:
            return
        try:
            state = os.stat(source)
        except OSError:
            return
        if state.st_uid != 0:
            self._target = state.st_uid, state.st_gid
            return
        holders = _holders(os.stat(os.path.dirname(source) or "."))
        if holders:
            warn(f"{source} is root's, but its directory is {holders}, who can exchange what is in it")

    def __enter__(self) -> None:
        if self._target is not None:
            os.setgroups([self._target[1]])
            os.setegid(self._target[1])
            os.seteuid(self._target[0])

    def __exit__(self, *_: object) -> None:
        if self._target is not None:
            os.seteuid(0)
            os.setegid(self._before[0])
            os.setgroups(self._before[1])


def _holders(directory: os.stat_result) -> str:
    """Who beside root may put files there in the place of root's."""
    if directory.st_uid != 0:
        return f"that of user {directory.st_uid}"
    if directory.st_mode & stat.S_ISVTX:
        return ""
    if directory.st_mode & stat.S_IWOTH:
        return "open to everybody"
    return f"open to group {directory.st_gid}" if directory.st_mode & stat.S_IWGRP and directory.st_gid != 0 else ""
