import errno
import os

import pytest

from postwarden.deliver.local.room import reserve


def test_room_is_taken_and_the_length_stays() -> None:
    fd = os.memfd_create("mailbox")  # of a device without a major number, as btrfs has them
    try:
        os.write(fd, b"one\n")
        reserve(fd, os.fstat(fd), 100_000)
        state = os.fstat(fd)
        assert state.st_size == 4 and state.st_blocks * 512 >= 100_000
    finally:
        os.close(fd)


def test_what_can_not_be_had_is_an_error() -> None:
    fd = os.memfd_create("mailbox")
    try:
        state = os.fstat(fd)
        reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        with pytest.raises(OSError) as caught:
            reserve(reader, state, 10)
        assert caught.value.errno == errno.EBADF
        os.close(reader)
    finally:
        os.close(fd)
