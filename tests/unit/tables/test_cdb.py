import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postwarden.tables import cdb
from postwarden.tables.cdb import CdbError, Reader, key_hash, key_hashes
from postwarden.tables.combined import leaves
from postwarden.tables.indexed import CdbTable
from postwarden.tables.opening import Tables, open_table
from postwarden.tables.table import TableError
from postwarden.tables.writing import CdbWriter, Duplicates

IN_A_DIRECTORY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make(source: Path, records: list[tuple[bytes, bytes]], duplicates: str = Duplicates.WARN) -> list[str]:
    said: list[str] = []
    writer = CdbWriter(str(source))
    writer.add([(key, value, 1) for key, value in records], said.append, duplicates)
    assert writer.publish() == []
    return said


def written(file: str, records: dict[bytes, bytes]) -> None:
    with open(file, "wb") as stream:
        cdb.write(stream.fileno(), records.items())


@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=20), max_size=60), st.binary(max_size=20))
@IN_A_DIRECTORY
def test_what_is_written_is_read(tmp_path: Path, records: dict[bytes, bytes], other: bytes) -> None:
    file = str(tmp_path / "x.cdb")
    written(file, records)
    reader = Reader(file)
    assert dict(reader.items()) == records
    assert {key: reader.get(key) for key in records} == records
    assert reader.get(other) == records.get(other)
    reader.close()


@given(st.data())
@IN_A_DIRECTORY
def test_a_damaged_file_gives_an_answer_or_an_error(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "x.cdb"
    written(str(file), {b"a": b"1", b"b": b"2", b"c": b"3"})
    damaged = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    try:
        reader = Reader(str(file))
        for key in (b"a", b"b", b"zz"):
            reader.get(key)
    except CdbError:
        pass


def test_a_table_and_its_replacement(tmp_path: Path) -> None:
    source = tmp_path / "map"
    source.write_text("a text\n")
    source.chmod(0o640)
    assert open_table("cdb:map", str(tmp_path)).get("A").value == "text"  # type: ignore[union-attr]
    assert make(source, [(b"A", b"1"), (b"a", b"2")]) == [f'{source}: duplicate entry: "a"']
    assert (tmp_path / "map.cdb").stat().st_mode & 0o777 == 0o640
    tables = Tables(str(tmp_path))
    table = tables.table("cdb:map")
    (leaf,) = leaves(table)
    assert isinstance(leaf, CdbTable)
    assert table.get("A").value == "1"  # type: ignore[union-attr]
    assert table.get("b") is None
    assert make(source, [(b"A", b"1"), (b"a", b"2")], Duplicates.REPLACE) == []
    assert tables.refresh() == []
    assert table.get("a").value == "2"  # type: ignore[union-attr]
    assert not leaf.outdated()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map", "map.cdb"]


def test_what_is_no_cdb_file_is_temporary(tmp_path: Path) -> None:
    (tmp_path / "map.cdb").write_bytes(b"x" * 100)
    with pytest.raises(TableError, match="not a cdb file"):
        open_table("cdb:map", str(tmp_path)).get("a")
    writer = CdbWriter(str(tmp_path / "map"))
    writer.abandon()
    assert os.listdir(tmp_path) == ["map.cdb"]


@given(st.lists(st.binary(max_size=12), max_size=30))
def test_hashes_of_many_keys_are_those_of_each(keys: list[bytes]) -> None:
    assert key_hashes(keys) == [key_hash(key) for key in keys]
