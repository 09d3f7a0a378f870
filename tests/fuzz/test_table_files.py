"""Files of tables with anything in them: opening them says what is wrong, and asking gives an answer or TableError."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postwarden.config.errors import ConfigError
from postwarden.tables.entries import alias_entries, map_entries
from postwarden.tables.opening import open_table
from postwarden.tables.table import TableError

QUICK = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])

PIECES = st.sampled_from([
    b"/a/", b"/(/", b"/(a+)+$/", b"!", b"if ", b"endif", b"\n", b" ", b"\t", b"$1", b"${", b"$(9)", b"$$",
    b"10.0.0.0/8",
    b"::/0", b"[::1]", b"query", b" = ", b"select '%s", b"'", b"%d", b"%9", b"%", b"domain", b"dbpath",
    b"result_format",
    b"expansion_limit", b"{", b"}", b",", b":", b'"', b"\\", b"#", b"\0", b"\xff", b"\xc3\xa9", b"(*UTF)", b"[",
    b"a@b.c",
    b"(?R)", b"\\K", b"x" * 600,
])  # fmt: skip
TEXTS = st.one_of(st.lists(PIECES, max_size=25).map(b"".join), st.binary(max_size=80))
KEYS = st.one_of(st.sampled_from(["a", "a@b.c", "10.1.1.1", "::1", "", "\udcff", "a\0b", "É", "x" * 2000]), st.text())


@given(st.sampled_from(["texthash", "hash", "cdb", "regexp", "pcre", "cidr", "sqlite"]), TEXTS, KEYS)
@QUICK
def test_any_text(tmp_path: Path, kind: str, text: bytes, key: str) -> None:
    (tmp_path / "map").write_bytes(text)
    try:
        open_table(f"{kind}:./map", str(tmp_path)).get(key)
    except (ConfigError, TableError) as error:
        assert str(error)


@given(
    st.sampled_from(["unionmap", "pipemap", "randmap", "inline", "static", "regexp", "environ", "sqlite"]), TEXTS, KEYS
)
@QUICK
def test_any_name(tmp_path: Path, kind: str, text: bytes, key: str) -> None:
    name = text.decode("utf-8", "replace").replace("\0", "")
    for written in (name, f"{{{name}}}", f"{{inline:{{a=b}}, {name}}}"):
        try:
            open_table(f"{kind}:{written}", str(tmp_path)).get(key)
        except (ConfigError, TableError) as error:
            assert str(error)


@given(TEXTS, st.booleans())
@QUICK
def test_what_postmap_reads(text: bytes, utf8: bool) -> None:
    said: list[str] = []
    for reader in (map_entries, alias_entries):
        for key, value, line in reader(text, "map", said.append, utf8):
            assert key and value and line > 0
            assert b"\n" not in key + value and b"\0" not in key + value
    assert all("\n" not in line for line in said)
