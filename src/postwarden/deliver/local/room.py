"""Room for a message before it is written: on btrfs a file can't be cut back once a quota is used up (measured: EDQUOT,
for root too), and half a message would stay in the mailbox.
"""

import ctypes
import errno
import os
from typing import Any

_KEEP_SIZE = 1
_NOT_HERE = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EINTR))
"""The file system can't do it: then what is written is cut back where that fails."""


def reserve(fd: int, state: os.stat_result, size: int) -> None:
    """`size` bytes behind the end of a regular file, whose length stays. Raises OSError where there is no room."""
    # Devices of their own have ext4 and xfs, which cut back without room, and whose price would be 20 µs a message.
    if os.major(state.st_dev) or size <= 0:
        return
    library: Any = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "fallocate64", None) or library.fallocate
    if call(fd, _KEEP_SIZE, ctypes.c_int64(state.st_size), ctypes.c_int64(size)):
        number = ctypes.get_errno()
        if number not in _NOT_HERE:
            raise OSError(number, os.strerror(number))
