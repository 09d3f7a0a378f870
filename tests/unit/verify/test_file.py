"""The cache on disk."""

import os
import sqlite3
from pathlib import Path

import pytest

from postwarden.mail.verified import BOUNCE, OK
from postwarden.verify import file
from postwarden.verify.cache import Known

GOOD, BAD = Known(OK, "250 ok", 20.0), Known(BOUNCE, "550 nö", 10.0)


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert file.read(str(tmp_path / "cache")) == []
    assert file.find(str(tmp_path / "cache"), "a@x") is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "cache")
    file.write(path, {"good@x": GOOD, "bad@x": BAD, "gone@x": GOOD})
    file.write(path, {"gone@x": None, "never@x": None})
    assert file.read(path) == [("bad@x", BAD), ("good@x", GOOD)]
    assert file.find(path, "bad@x") == BAD
    assert file.find(path, "gone@x") is None


def test_a_newer_entry_replaces_the_old_one(tmp_path: Path) -> None:
    path = str(tmp_path / "cache")
    file.write(path, {"a@x": BAD})
    file.write(path, {"a@x": GOOD})
    assert file.read(path) == [("a@x", GOOD)]


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_file_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cache"
    path.write_bytes(content)
    for call in (lambda: file.read(str(path)), lambda: file.write(str(path), {"a@x": GOOD})):
        with pytest.raises(file.CacheError) as caught:
            call()
        assert caught.value.damaged
    file.discard(str(path))
    file.write(str(path), {"a@x": GOOD})
    assert file.read(str(path)) == [("a@x", GOOD)]


def test_a_cut_file_says_so_or_gives_what_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    file.write(str(path), {f"address{n}@x": GOOD for n in range(2000)})
    whole = path.read_bytes()
    for size in range(1, len(whole), len(whole) // 40):
        for name in tmp_path.iterdir():
            name.unlink()
        path.write_bytes(whole[:size])
        try:
            rows = file.read(str(path))
        except file.CacheError as error:
            assert error.damaged
        else:
            assert all(known == GOOD for _, known in rows)


def test_rows_that_somebody_else_wrote_are_left_out(tmp_path: Path) -> None:
    path = str(tmp_path / "cache")
    file.write(path, {"a@x": GOOD})
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO verified VALUES ('b@x', 'splendid', 1.0, 'x')")
        database.execute("INSERT INTO verified VALUES ('c@x', 'ok', 'soon', 'x')")
        database.execute("INSERT INTO verified VALUES ('d@x', 'ok', 1.0, x'ff')")
    database.close()
    assert file.read(path) == [("a@x", GOOD)]
    assert file.find(path, "b@x") is None


def test_a_table_of_other_columns_is_damage(tmp_path: Path) -> None:
    path = str(tmp_path / "cache")
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE verified (x)")
    database.close()
    with pytest.raises(file.CacheError) as caught:
        file.read(path)
    assert caught.value.damaged


def test_another_table_in_it_is_none_of_ours(tmp_path: Path) -> None:
    path = str(tmp_path / "cache")
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE other (x)")
    database.close()
    assert file.read(path) == []
    file.write(path, {"a@x": GOOD})
    assert file.read(path) == [("a@x", GOOD)]


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(file.CacheError) as caught:
        file.write(str(tmp_path / "nowhere" / "cache"), {"a@x": GOOD})
    assert not caught.value.damaged


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "cache")
    for call in (file.read, file.discard):
        with pytest.raises(file.CacheError):
            call(str(tmp_path / "cache"))
