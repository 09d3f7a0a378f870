"""postmap and postalias over files with anything in them: an exit code and lines of text, never a traceback."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds
from tests.fuzz.test_table_files import TEXTS

from postwarden.cli import postalias, postmap

QUICK = settings(deadline=None, max_examples=rounds(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
INDEXED = ("hash", "btree", "lmdb", "cdb")
TYPES = (*INDEXED, "texthash", "regexp", "pcre", "cidr", "sqlite", "inline", "unionmap", "pipemap", "frob")
WORDS = st.lists(
    st.sampled_from(["-f", "-r", "-w", "-i", "-n", "-N", "-o", "-p", "-u", "-s", "-F", "-j", "-v", "-b", "-h", "-m"]),
    max_size=2,
)
ASKED = st.sampled_from([[], ["-q", "a"], ["-q", "-"], ["-d", "a"], ["-d", "-"], ["-s"], ["-q", "\udcff"]])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\ndefault_database_type = hash\n")
    return tmp_path


@contextlib.contextmanager
def heard(stdin: bytes) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield out, err
    finally:
        sys.stdin = before


def text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode("utf-8", "replace")


@given(st.sampled_from(TYPES), TEXTS, WORDS, ASKED, TEXTS, st.booleans())
@QUICK
def test_commands(
    place: Path, kind: str, text: bytes, words: list[str], asked: list[str], stdin: bytes, aliases: bool
) -> None:
    (place / "map").write_bytes(text)
    name, program = ("postalias", postalias.main) if aliases else ("postmap", postmap.main)
    with heard(stdin) as (_, err):
        code = program(name, ["-c", str(place), *words, *asked, f"{kind}:{place}/map"])
    said = text_of(err)
    assert (code, "fatal: " in said) in ((0, False), (1, True), (1, False)), said
    assert all(line.startswith(f"{name}: ") for line in said.splitlines() if line), said
    assert not [path for path in place.iterdir() if path.name.startswith("map.") and path.name not in KEPT], said


KEPT = ("map.lmdb", "map.cdb")


@given(st.sampled_from(INDEXED), st.binary(max_size=3000), st.sampled_from([b"", b"\xde\xc0\xef\xbe", bytes(16)]))
@QUICK
def test_damaged_indexes(place: Path, kind: str, data: bytes, front: bytes) -> None:
    (place / "map").write_text("a 1\n")
    with heard(b""):
        assert postmap.main("postmap", ["-c", str(place), f"{kind}:{place}/map"]) == 0
    index = place / ("map.cdb" if kind == "cdb" else "map.lmdb")
    whole = bytearray(index.read_bytes())
    at = len(data) * 7 % len(whole)
    whole[at : at + len(data)] = data[: len(whole) - at]
    index.write_bytes((front + bytes(whole[len(front) :])) if front else bytes(whole))
    for words in (["-q", "a"], ["-s"], ["-d", "a"]):
        with heard(b"") as (_, err):
            code = postmap.main("postmap", ["-c", str(place), *words, f"{kind}:{place}/map"])
        assert code in (0, 1), text_of(err)
    os.unlink(index)
