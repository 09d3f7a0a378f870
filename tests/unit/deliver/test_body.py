import os
import zlib
from pathlib import Path

import pytest

from postwarden.deliver.body import FileBody

DATA = os.urandom(1000)


def body(path: Path, data: bytes, crc: int) -> FileBody:
    path.write_bytes(b"before" + data)
    return FileBody(os.open(path, os.O_RDONLY), 6, len(data), crc)


def whole(body: FileBody, step: int) -> bytes:
    return b"".join(body.read(at, step) for at in range(0, body.size, step))


@pytest.mark.parametrize("step", [1, 300, 500, 1000, 4000])
def test_what_is_damaged_is_never_read_to_its_end(tmp_path: Path, step: int) -> None:
    for spoilt in (0, 500, 999):
        data = bytearray(DATA)
        data[spoilt] ^= 1
        found = body(tmp_path / "body", bytes(data), zlib.crc32(DATA))
        for _ in range(2):
            with pytest.raises(EOFError):
                whole(found, step)
        found.close()


def test_whole_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    found = body(tmp_path / "body", DATA, zlib.crc32(DATA))
    assert found.read(0, 400) == DATA[:400]
    assert [whole(found, step) for step in (300, 1000)] == [DATA] * 2
    assert found.read(900, 100) == DATA[900:]
    found.close()


def test_a_sum_that_is_not_known_is_not_checked(tmp_path: Path) -> None:
    found = body(tmp_path / "body", DATA, 0)
    assert whole(found, 300) == DATA
    found.close()


def test_shorter_than_was_said(tmp_path: Path) -> None:
    found = body(tmp_path / "body", DATA, 0)
    found.size += 1
    with pytest.raises(EOFError):
        whole(found, 300)
    found.close()
