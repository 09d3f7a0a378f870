import os
from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Origin
from postwarden.tables.combined import leaves
from postwarden.tables.entries import map_entries
from postwarden.tables.indexed import IndexTable, TextTable
from postwarden.tables.opening import Tables, open_table, warnings
from postwarden.tables.table import TableError
from postwarden.tables.text import alias_lines, index, looks_like_aliases, map_lines
from postwarden.tables.writing import CdbWriter, Duplicates, IndexWriter

ALIASES = b"""\
# comment
postmaster: root
"john doe": jd, other@example.com
list:
  a@example.com,
  b@example.com
cmd: "|/usr/bin/prog -x"
"""


def write(path: Path, text: str, age: int = 0) -> str:
    path.write_text(text)
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + age * 10**9))
    return str(path)


def test_map_lines() -> None:
    text = b'Foo Bar\n"john doe"@example.com  x y\n2001:db8::1 OK\n more\na\\"b c\n'
    assert [(line.key, line.value) for line in map_lines(text, "t")] == [
        ("Foo", "Bar"), ('"john doe"@example.com', "x y"), ("2001:db8::1", "OK more"), ('a\\"b', "c"),
    ]  # fmt: skip


def test_alias_lines() -> None:
    lines = {line.key: line.value for line in alias_lines(ALIASES, "t")}
    assert lines == {
        "postmaster": "root",
        "john doe": "jd, other@example.com",
        "list": "a@example.com,  b@example.com",
        "cmd": '"|/usr/bin/prog -x"',
    }


def test_which_form_a_text_has() -> None:
    assert looks_like_aliases(ALIASES, "t")
    assert looks_like_aliases(b"root:me\n", "t")
    assert not looks_like_aliases(b"2001:db8::1 OK\nexample.com x\n", "t")
    assert not looks_like_aliases(b"", "t")
    assert not looks_like_aliases(b"a@b.c smtp:[x]:25\n", "t")


def test_the_first_of_two_keys_counts_and_is_said() -> None:
    lines, problems = index(map_lines(b"Foo a\nfoo b\n", "t"))
    assert lines["foo"][0] == "a"
    assert [str(p) for p in problems] == ['warning: t:2: duplicate entry: "foo"']


@pytest.mark.parametrize(("reader", "text"), [(map_lines, b"foo"), (alias_lines, b"foo bar"), (alias_lines, b"foo:")])
def test_a_bad_line_names_file_and_line(reader: type, text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^t:2: "):
        list(reader(b"a: b\n" + text + b"\n", "t"))


def test_a_text_table_answers_in_lower_case_with_its_line(tmp_path: Path) -> None:
    write(tmp_path / "map", "# x\nUser@Example.com  Value\n")
    found = open_table("hash:map", str(tmp_path)).get("uSER@example.COM")
    assert found is not None
    assert (found.value, found.table, str(found.origin)) == ("Value", "hash:map", f"{tmp_path}/map:2")


def test_a_new_text_that_does_not_parse_keeps_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "map", "a 1\n")
    tables = Tables(str(tmp_path))
    table = tables.table("texthash:map")
    assert tables.refresh() == []
    write(tmp_path / "map", "a 2\nbad\n", 1)
    (problem,) = tables.refresh()
    assert str(problem).startswith(f"error: {tmp_path}/map:2: ")
    assert tables.refresh() == []
    assert table.get("a").value == "1"  # type: ignore[union-attr]
    write(tmp_path / "map", "a 3\n", 2)
    assert tables.refresh() == []
    assert table.get("a").value == "3"  # type: ignore[union-attr]
    (tmp_path / "map").unlink()
    assert len(tables.refresh()) == 1
    assert table.get("a").value == "3"  # type: ignore[union-attr]


def test_a_missing_file_is_temporary(tmp_path: Path) -> None:
    tables = Tables(str(tmp_path))
    table = tables.table("hash:map")
    with pytest.raises(TableError, match="No such file"):
        table.get("a")
    write(tmp_path / "map", "a 1\n")
    tables.refresh()
    assert table.get("a") is not None


def test_a_bad_line_of_the_first_text_is_left_out(tmp_path: Path) -> None:
    for kind, good, key in (("hash", "a b", "a"), ("texthash", "a b", "a")):
        write(tmp_path / "map", f"bad\n{good}\n")
        tables = Tables(str(tmp_path))
        table = tables.table(f"{kind}:map")
        assert table.get(key) is not None
        (problem,) = warnings(table)
        assert str(problem).startswith(f"warning: {tmp_path}/map:1: expected format: key whitespace value")
        # It was bad before: the rest of a new text counts.
        write(tmp_path / "map", f"# more\nbad\n{good}\nc d\n", 1)
        (problem,) = tables.refresh()
        assert (problem.severity, problem.origin.line) == ("warning", 2)
        assert table.get("c") is not None
        write(tmp_path / "map", f"bad\n{good}\nworse\n", 2)
        (problem,) = tables.refresh()
        assert (problem.severity, problem.origin.line) == ("error", 3)
        assert table.get("c") is not None


def test_an_index_that_appears_and_goes_again(tmp_path: Path) -> None:
    source = write(tmp_path / "map", "a text\n")
    for kind in ("hash", "cdb"):
        tables = Tables(str(tmp_path))
        table, inner = tables.table(f"{kind}:map"), tables.table(f"unionmap:{{{kind}:map}}")
        writer = IndexWriter(source) if kind == "hash" else CdbWriter(source)
        writer.add([(b"a", b"index", 1)], print)
        writer.publish()
        assert tables.refresh() == []
        assert [each.get("a").value for each in (table, inner)] == ["index", "index"]  # type: ignore[union-attr]
        os.unlink(writer.target)
        assert tables.refresh() == []
        assert [each.get("a").value for each in (table, inner)] == ["text", "text"]  # type: ignore[union-attr]


def test_what_appears_and_is_bad_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "map", "a text\n")
    tables = Tables(str(tmp_path))
    table = tables.table("hash:map")
    (tmp_path / "map.lmdb").write_bytes(b"\0" * 8192)
    (problem,) = tables.refresh()
    assert str(problem).startswith(f"error: {tmp_path}/map: {tmp_path}/map.lmdb: can't be read")
    assert tables.refresh() == []
    assert table.get("a").value == "text"  # type: ignore[union-attr]
    make_index(str(tmp_path / "map"), b"a index\n")
    assert tables.refresh() == []
    assert table.get("a").value == "index"  # type: ignore[union-attr]
    write(tmp_path / "map", "bad\n", 1)
    (tmp_path / "map.lmdb").unlink()
    (problem,) = tables.refresh()
    assert str(problem).startswith(f"error: {tmp_path}/map:1: ")
    assert table.get("a").value == "index"  # type: ignore[union-attr]
    (tmp_path / "map").unlink()
    (problem,) = tables.refresh()
    assert tables.refresh() == []
    assert table.get("a").value == "index"  # type: ignore[union-attr]


def make_index(source: str, text: bytes, **options: bool) -> IndexWriter:
    writer = IndexWriter(source, **options)
    writer.add(map_entries(text, source, print), print)
    writer.publish()
    return writer


def test_an_index_is_preferred_and_seen_when_new(tmp_path: Path) -> None:
    source = write(tmp_path / "map", "a text\n")
    os.chmod(source, 0o640)
    (tmp_path / "map.db").write_text("old")
    writer = IndexWriter(source)
    writer.add([(b"A", b"index", 1)], print)
    assert not (tmp_path / "map.lmdb").exists()
    (said,) = writer.publish()
    assert "map.db" in str(said)
    assert not (tmp_path / "map.db").exists()
    assert (tmp_path / "map.lmdb").stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map", "map.lmdb"]
    table = open_table("hash:map", str(tmp_path))
    twin = open_table("proxy:hash:map", str(tmp_path))
    (leaf,) = leaves(table)
    assert isinstance(leaf, IndexTable)
    assert [t.get("A").value for t in (table, twin)] == ["index", "index"]  # type: ignore[union-attr]
    make_index(source, b"a newer\n")
    assert table.stale()
    table.reload()
    assert table.get("a").value == "newer"  # type: ignore[union-attr]
    write(tmp_path / "map", "a newest\n", 10)
    assert leaf.outdated()


def test_an_index_that_is_rewritten_in_place(tmp_path: Path) -> None:
    source = write(tmp_path / "map", "a 1\n")
    make_index(source, b"a 1\n")
    table, twin = open_table("lmdb:map", str(tmp_path)), open_table("lmdb:map", str(tmp_path))
    make_index(write(tmp_path / "other", ""), b"a 2\n")
    (tmp_path / "map.lmdb").write_bytes((tmp_path / "other.lmdb").read_bytes())
    for each in (table, twin):
        each.reload()
        assert each.get("a").value == "2"  # type: ignore[union-attr]


def test_a_damaged_index_is_temporary(tmp_path: Path) -> None:
    write(tmp_path / "map", "a 1\n")
    (tmp_path / "map.lmdb").write_bytes(b"\0" * 8192)
    with pytest.raises(TableError):
        open_table("hash:map", str(tmp_path)).get("a")


def test_keys_with_a_null_byte_as_postfix_may_write_them(tmp_path: Path) -> None:
    source = write(tmp_path / "map", "")
    make_index(source, b"a 1\n", null=True)
    assert open_table("lmdb:map", str(tmp_path)).get("a").value == "1"  # type: ignore[union-attr]


def test_duplicates_and_deletion(tmp_path: Path) -> None:
    source = write(tmp_path / "map", "")
    make_index(source, b"a 1\nb 2\n")
    writer = IndexWriter(source, keep=True)
    said: list[str] = []
    writer.add([(b"a", b"9", 1)], said.append)
    assert said == [f'lmdb:{source}: duplicate entry: "a"']
    said.clear()
    writer.add([(b"a", b"8", 1)], said.append, Duplicates.IGNORE)
    writer.add([(b"b", b"3", 1)], said.append, Duplicates.REPLACE)
    assert said == []
    writer.add([(b"k" * 600, b"v", 1)], said.append)
    assert said == [f"lmdb:{source}: a key of 600 bytes is too long and was left out"]
    writer.publish()
    table = open_table("hash:map", str(tmp_path))
    (leaf,) = leaves(table)
    assert isinstance(leaf, IndexTable)
    assert list(leaf.items()) == [("a", "1"), ("b", "3")]
    writer = IndexWriter(source, keep=True)
    assert writer.delete("A")
    assert not writer.delete("nosuch")
    writer.abandon()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map", "map.lmdb"]


def test_a_new_index_at_once(tmp_path: Path) -> None:
    source = write(tmp_path / "map", "")
    for entries, done in (
        ([(b"B", b"2", 1), (b"a", b"1", 2)], True), ([(b"A", b"1", 1), (b"a", b"1", 2)], False),
        ([(b"k" * 512, b"1", 1)], False), ([], True),
    ):  # fmt: skip
        writer = IndexWriter(source)
        assert writer.add_at_once(entries) is done
        writer.publish()
        assert (open_table("hash:map", str(tmp_path)).get("b") is None) is (entries[:1] != [(b"B", b"2", 1)])
        assert sorted(p.name for p in tmp_path.iterdir()) == ["map", "map.lmdb"]


def test_plain_lines_are_read_as_the_others(tmp_path: Path) -> None:
    text = b"a 1\n\nb\t2 3\n# c d\n#\nalone\nc d"
    said: tuple[list[str], list[str]] = ([], [])
    plain = list(map_entries(text, "t", said[0].append))
    # The continuation line at the end takes the general way for the whole text.
    assert list(map_entries(text + b"\n \n", "t", said[1].append)) == plain
    assert plain == [(b"a", b"1", 1), (b"b", b"2 3", 3), (b"c", b"d", 7)]
    assert said == (["t, line 6: expected format: key whitespace value"],) * 2


def test_alias_tables_are_known_by_name_or_by_sight(tmp_path: Path) -> None:
    write(tmp_path / "aliases", "root: me\n")
    tables = Tables(str(tmp_path), frozenset(["hash:aliases"]))
    assert tables.table("hash:aliases").get("ROOT").value == "me"  # type: ignore[union-attr]
    assert tables.table("hash:aliases") is tables.table("hash:aliases")
    assert open_table("hash:aliases", str(tmp_path)).get("root").value == "me"  # type: ignore[union-attr]
    write(tmp_path / "aliases", "root me\n")
    (problem,) = warnings(Tables(str(tmp_path), frozenset(["hash:aliases"])).table("proxy:hash:aliases"))
    assert 'no ":" behind the name of an alias' in problem.text


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("foo", "type:name"), (":x", "type:name"), ("hash:", "type:name"), ("mongodb:/x", "not available"),
        ("nis:mail.aliases", "NIS"), ("frob:/x", "unsupported"), ("unix:shadow.byname", "passwd.byname"),
        ("inline:x", "inline"), ("inline:{}", "empty"), ("inline:{a}", "key=value"), ("static:{x", "}"),
        ("proxy:mongodb:/x", "not available"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_opened_points_to_where_it_was_written(name: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_table(name, "/", Origin("main.cf", 7, ""))
    assert str(caught.value).startswith("main.cf:7: ")
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("inline:{a=b}", "A", "b"),
        ("inline:{ a=b, {c = d e}, f=g=h }", "c", "d e"),
        ("inline:{ a=b, {c = d e}, f=g=h }", "f", "g=h"),
        ("inline:{a=b,a=c}", "a", "c"),
        ("inline:{a=b}", "zz", None),
        ("static:x", "whatever", "x"),
        ("static:{ x y }", "", "x y"),
        ("unix:passwd.byname", "root", "root:x:0:0:"),
        ("proxy:unix:passwd.byname", "no such user", None),
        ("unix:group.byname", "root", "root:x:0:"),
    ],
)
def test_literal_and_account_tables(name: str, key: str, value: str | None) -> None:
    found = open_table(name, "/").get(key)
    assert (found is None) if value is None else (found is not None and found.value.startswith(value))


def test_text_tables_are_fixed() -> None:
    assert TextTable.fixed
    assert not open_table("static:x", "/").fixed


def test_a_backslash_in_an_alias_quotes_and_means_nothing_else(tmp_path: Path) -> None:
    """As in an index that postalias makes."""
    (tmp_path / "aliases").write_text('joe: \\joe, "|cat \\n", \\"x\n')
    found = TextTable("hash:aliases", str(tmp_path / "aliases"), True).get("joe")
    assert found is not None
    assert found.value == 'joe, "|cat \\n", \\"x'
