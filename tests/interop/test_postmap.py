"""postmap and postalias beside Debian's: the same files, options and keys give the same output and exit code."""

import contextlib
import io
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.realpostfix import needs_postfix

from postwarden.cli import postalias, postmap

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

TOGETHER = 12
"""Real commands at once: whenever one fails it sleeps for a second before it ends."""
Outcome = tuple[int, str, list[str]]
PROGRAMS = {"postmap": postmap.main, "postalias": postalias.main}
TYPES = frozenset(
    subprocess.run(["postconf", "-m"], capture_output=True, text=True, check=False).stdout.split()
    if shutil.which("postconf")
    else ()
)


class Place:
    """Two directories with the same files: the real program works in one, ours in the other."""

    def __init__(self, base: Path) -> None:
        self.real, self.ours = base / "real", base / "ours"
        for directory in (self.real, self.ours):
            directory.mkdir()
            queue = f"queue_directory = {base}/queue\ndata_directory = {base}/data\n"
            (directory / "main.cf").write_text(f"compatibility_level = 3.6\ndefault_database_type = lmdb\n{queue}")
            # A command reads a file of this second again and again until it is older: up to two seconds each.
            os.utime(directory / "main.cf", (0, 0))
            for name in ("dynamicmaps.cf", "dynamicmaps.cf.d"):
                (directory / name).symlink_to(f"/etc/postfix/{name}")

    def write(self, name: str, data: bytes) -> None:
        for directory in (self.real, self.ours):
            (directory / name).write_bytes(data)
            os.utime(directory / name, (0, 0))

    def by_postfix(self, program: str, words: list[str], stdin: bytes, place: Path | None = None) -> Outcome:
        done = subprocess.run(
            [program, *words],
            input=stdin,
            capture_output=True,
            cwd=place or self.real,
            env={"PATH": os.environ["PATH"], "MAIL_CONFIG": str(self.real), "lower": "L"},
            timeout=30,
            check=False,
        )
        return (
            done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace").split("\n"),
        )

    def elsewhere(self, number: int, words: list[str], stdin: bytes) -> tuple[Outcome, Outcome]:
        """What postmap(1) says in a copy of its directory, and how its table looks then."""
        place = self.real.with_name(f"real-{number}")
        shutil.copytree(self.real, place, symlinks=True)
        return self.by_postfix("postmap", words, stdin, place), self.by_postfix("postmap", ["-s", "map"], b"", place)

    def by_us(self, program: str, words: list[str], stdin: bytes) -> Outcome:
        with swapped(self.ours, stdin) as (out, err):
            code = PROGRAMS[program](program, words)
        return code, text_of(out), text_of(err).split("\n")

    def both(self, *words: str, stdin: bytes = b"", program: str = "postmap") -> tuple[Outcome, Outcome]:
        return self.by_us(program, list(words), stdin), self.by_postfix(program, list(words), stdin)


@contextlib.contextmanager
def swapped(directory: Path, stdin: bytes) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))
    before, environment = os.getcwd(), dict(os.environ)
    held = sys.stdin, sys.stdout, sys.stderr
    os.chdir(directory)
    os.environ.update({"MAIL_CONFIG": str(directory), "lower": "L"})
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(stdin)), out, err
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = held
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)


def text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8", "replace")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


LINES = st.lists(
    st.one_of(
        st.sampled_from([
            b"a 1", b"A 2", b"b\t3", b" more", b"\t", b"", b"# c", b"  # c", b"key: v", b"alone", b'"a b" c', b'"x" y',
            b'"un b', b'q"r s"t u', b"e\\ f g", b"\xc3\x89 u", b"\xe1\xba\x9e u", b"\xff u", b"u \xfe",
            b"a@b.c  x,  y ",
            b"crlf v\r", b"d:e f", b"'q r' s", b"=1 2", b"\x0b f", b"n\0ul v",
        ]),
        st.text("aAbB :,\"\\\t#é", max_size=12).map(str.encode),
    ),
    max_size=12,
)  # fmt: skip


@given(LINES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_the_same_index_and_warnings(place: Place, lines: list[bytes]) -> None:
    place.write("map", b"\n".join(lines) + b"\n")
    if "lmdb" not in TYPES:
        pytest.skip("needs postfix-lmdb")
    for words in (["map"], ["-s", "map"], ["-f", "-r", "map"], ["-s", "map"]):
        ours, real = place.both(*words)
        assert ours == real, words


QUERIES = [
    ["-q", key, table]
    for table in (
        "lmdb:map", "texthash:map", "static:x", "static:{ a  b }", "inline:{a=1, {B = x y}}", "environ:x", "fail:x",
        "randmap:{one}", "unionmap:{lmdb:map, static:x}", "unionmap:{inline:{q=1}}", "unionmap:{fail:x, lmdb:map}",
        "pipemap:{lmdb:map, inline:{1=one}}", "pipemap:{fail:x}", "unix:passwd.byname", "unix:group.byname",
        "cidr:nets", "regexp:res", "unionmap:{regexp:res, unionmap:{lmdb:map,inline:{a=2}}}",
    )
    for key in ("a", "A", "b", "zz", "root", "ROOT", "lower", "10.1.2.3", "x@y")
]  # fmt: skip
OTHERS = [
    [], ["-z"], ["-q"], ["-q", "a", "-s", "map"], ["-q", "a", "-d", "a", "map"], ["-s", "-d", "a", "map"],
    ["-b", "map"], ["-hi", "map"], ["-mq", "a", "map"], ["-F", "-q", "a", "map"], ["nosuch"], ["map", "nosuch", "b"],
    ["-q", "É", "map"], ["texthash:map"], ["regexp:map"], ["cidr:map"], ["proxy:lmdb:map"], ["lmdb:"],
    ["-q", "x", ":map"], ["-q", "x", "lmdb:"], ["-q", "x", "nosuch"], ["-q", "x", "lmdb:nosuch"],
    ["-q", "x", "regexp:nosuch"], ["-q", "x", "cidr:nosuch"], ["-q", "x", "texthash:nosuch"], ["-s", "nosuch"],
    ["-s", "static:x"], ["-s", "unix:passwd.byname"], ["-s", "environ:x"], ["-s", "unionmap:{static:x}"],
    ["-s", "regexp:res"], ["-q", "a", "map", "nosuch"], ["-q", "zz", "map", "nosuch"], ["-q", "a", "unionmap:x"],
    ["-q", "a", "unionmap:{}"], ["-q", "a", "unionmap:{x}"], ["-q", "a", "randmap:{}"], ["-q", "a", "environ:"],
    ["-fq", "PATH", "environ:x"], ["-fq", "ROOT", "unix:passwd.byname"], ["-fq", "A", "map"], ["-d", "A", "map"],
    ["-fd", "A", "map"], ["-d", "zz", "map"], ["-d", "a", "map", "nosuch"], ["-d", "a", "texthash:map"], ["-u", "map"],
    ["-q", "x", "inline:{a=b, x=}"], ["-c", "/nonexistent", "-q", "a", "map"], ["-q", "a", "foo:map"],
    ["-n", "map"], ["-N", "map"], ["-p", "map"], ["-o", "map"], ["-iw", "map"], ["-ir", "map"], ["-i", "other"],
    ["-d", "-", "map"], ["-q", "-", "map", "static:x"], ["-F", "files"], ["-w", "map"],
]  # fmt: skip


def said(lines: list[str]) -> list[str]:
    """Usage lists an option more with us, and what a failing table says of itself is its own."""
    kept = []
    for line in lines:
        text = "usage" if "fatal: usage:" in line else line
        kept.append(text.partition("query error")[0] if "query error: " in text else text)
    return kept


def agree(pair: tuple[Outcome, Outcome]) -> bool:
    return pair[0][:2] == pair[1][:2] and said(pair[0][2]) == said(pair[1][2])


def test_options_and_types(place: Place) -> None:
    if "lmdb" not in TYPES:
        pytest.skip("needs postfix-lmdb")
    place.write("map", b"a 1\nb 2\nroot x@y\n\xc3\x89 e\n")
    place.write("nets", b"10.0.0.0/8 ten\n!1.0.0.0/8 other\n")
    place.write("res", b"/^(.)$/ one $1\nif /@/\n/x/ X\nendif\n!/./ none\n")
    place.write("files", b"f map\ng map, res\nh nosuch\n")
    stdin = b"a\nA 7\nnew 1\nroot\n"
    assert place.both("map")[1][0] == 0
    commands = QUERIES + OTHERS
    with ThreadPoolExecutor(TOGETHER) as threads:
        real = list(threads.map(lambda number: place.elsewhere(number, commands[number], stdin), range(len(commands))))
    different = []
    for words, (theirs, their_list) in zip(commands, real, strict=True):
        place.by_us("postmap", ["map"], b"")
        ours = place.by_us("postmap", words, stdin)
        if not agree((ours, theirs)):
            different.append((words, ours, theirs))
        our_list = place.by_us("postmap", ["-s", "map"], b"")
        if our_list[1] != their_list[1]:
            different.append((words, our_list, their_list))
    assert different == []


MESSAGES = [
    b"", b"\n", b"A: 1", b" lead\nA: 1\n", b"not a header\nA: 1\n", b"A: 1\nB : 2\nnone\n\nx\n", b"From x\nA: 1\n\nb\n",
    b"A: 1\n  2\n\t3\n\nbody\n\nmore", b"A: 1\r\nB: 2\r\n\r\nbody\r\n",
    b"Content-Type: multipart/digest; boundary=x\n\n--x\nA: 1\n\nB: 2\n\nC: 3\n--xyz\nD: 4\n\n--x--\nE: 5\n",
    b"Content-Type: message/delivery-status\n\nA: 1\n", b"Content-Type: message/rfc822\n\nA: 1\n\nb: 2\n",
    b'Content-Type: multipart/mixed; boundary="a b"\n\n--a b\nContent-Type: multipart/alternative;\n boundary=in\n\n'
    b"--in\nX: 1\n\n--a b\nY: 2\n\nz\n--in\nZ: 3\n",
    b"Content-Type: multipart/mixed; boundary=x\n\n--x\nA: 1\nnot header\n--x\n B: 2\n\n--x\nC: 3",
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("letters", ["-h", "-b", "-hm", "-bm", "-bh", "-bhm"])
def test_messages(place: Place, letters: str, message: bytes) -> None:
    ours, real = place.both(letters, "-q", "-", "static:X", stdin=message)
    assert ours == real


ALIASES = (
    b'root: a\nROOT: b\n"john doe": x\nbad\nlist: a,\n b\nempty:\n: novalue\nkey value\na@b: c\n"|cmd": "|prog a"\n'
    b'a b: c\nx : y\nin: :include:/etc/x, "|a  b", /dev/null, x@y (com ment), \n "p q"@z\nq\\"w: s\ne: ""\n'
    b'\xc3\x89: z\n\xff: r\nm: a ,  b ,c\nn: "a"  @b\nf: a;b:c:\n'
)


def test_aliases(place: Place) -> None:
    if "lmdb" not in TYPES:
        pytest.skip("needs postfix-lmdb")
    place.write("aliases", ALIASES)
    for words in (
        ["aliases"],
        ["-q", "ROOT", "aliases"],
        ["-q", "john doe", "aliases"],
        ["-w", "aliases"],
        ["-u", "aliases"],
    ):
        assert agree(place.both(*words, program="postalias")), words
    ours, real = place.both("-s", "aliases", program="postalias")
    # NIS wants these three; nothing that we know reads them.
    kept = [line for line in real[1].splitlines() if not line.startswith(("@:", "YP_"))]
    assert ours[1].splitlines() == kept


def test_sqlite(place: Place) -> None:
    if "sqlite" not in TYPES:
        pytest.skip("needs postfix-sqlite")
    for directory in (place.real, place.ours):
        connection = sqlite3.connect(directory / "t.db")
        connection.execute("create table a(k, v)")
        rows = [("u@x.com", "one@y.z"), ("u@x.com", "two"), ("bare", "b"), ("e@x.com", ""), ("n@x.com", None)]
        connection.executemany(
            "insert into a values(?, ?)", [*rows, ("o'q@x.com", "quoted"), ("i@x.com", 5), ("d@x.com", "@d")]
        )
        connection.commit()
        connection.close()
    definitions = [
        "query = select v from a where k='%s'", "query = select v from a where k='%u@%d'",
        "query = select '%1-%2-%d-%u-%s-%S-%U-%D-%%'",
        "query = select v from a where k='%s'\nresult_format = [%s|%u|%d|%S|%U|%D|%1|%%]",
        "query = select v from a where k='%s'\nexpansion_limit = 1",
        "query = select v from a where k='%s'\ndomain = x.com",
        "query = select v from a where k='%s'\ndomain = inline:{x.com=1}, !y.com",
        "query = select v, k from a; select 1",
        "table = a\nselect_field = v\nwhere_field = k\nadditional_conditions = and 1", "query = select\n  '$x;'",
    ]  # fmt: skip
    keys = (
        "u@x.com", "U@X.COM", "bare", "e@x.com", "n@x.com", "o'q@x.com", "i@x.com", "d@x.com", "@x.com", "a@",
        "x@b.c.d",
        "x@com", "x@a..b", "x@.b.c", "x@b.c.", "x@y@b.c", "nosuch",
    )  # fmt: skip
    different = []
    for text in definitions:
        place.write("s.cf", f"dbpath = t.db\n{text}\n".encode())
        asked = [["-q", key, "sqlite:./s.cf"] for key in keys]
        with ThreadPoolExecutor(TOGETHER) as threads:
            answers = list(threads.map(lambda words: place.by_postfix("postmap", words, b""), asked))
        for words, real in zip(asked, answers, strict=True):
            ours = place.by_us("postmap", words, b"")
            if ours[:2] != real[:2]:
                different.append((text, words, ours, real))
    assert different == []


PATTERNS = [
    r"/^(a+)(b)?@/ got $1-${2}-$(1)-$$", r"/(?<n>x)y/ $1", "/a/i low", r"/^\d+$/ num", "/é./ utf", "/^.$/ one",
    "/a b/x x", "/a.b/s s", "/b$/E e", "/ab/A anchored", "/(a+)/U $1", "|a/b|i slash", "/(a)|(b)/ [$1][$2]",
    "!/[a-z]/ none", "if /a/\n/b/ ab\nif !/c/\n/d/ abd\nendif\nendif\n/e/ e", r"/(?!owner-)(.*)-out@(.*)/ ${1}@$2",
    r"/\bw\b/ word", "/^(?i)A(?-i)b/ mixed", "/[[:upper:]]/i upper", r"/\xe9|\x{c3}/ byte", r"/(.)\1/ twice $1",
]  # fmt: skip
SUBJECTS = (
    "aab@x", "AA@x", "xy", "A", "a", "12", "éx", "é", "ab", "a b", "xab", "a/b", "b", "abd", "abcd", "e", "list-out@x",
    "owner-list-out@x", "a w b", "X", "", "É", "%", "Ab", "aB",
)  # fmt: skip


def test_pcre(place: Place) -> None:
    if "pcre" not in TYPES:
        pytest.skip("needs postfix-pcre")
    keys = "".join(f"{key}\n" for key in SUBJECTS).encode()
    for pattern in PATTERNS:
        place.write("rules", f"{pattern}\n".encode())
        ours, real = place.both("-q", "-", "pcre:rules", stdin=keys)
        assert ours == real, pattern


def test_cdb(place: Place) -> None:
    if "cdb" not in TYPES:
        pytest.skip("needs postfix-cdb")
    place.write("map", b"".join(b"Key%d value %d\n" % (number, number) for number in range(500)) + b"key7 again\n")
    for words in (["cdb:map"], ["-r", "cdb:map"], ["-s", "cdb:map"], ["-i", "cdb:map"], ["-d", "key1", "cdb:map"]):
        ours, real = place.both(*words)
        assert (ours[0], ours[1]) == real[:2], words
        assert words == ["-s", "cdb:map"] or ours[2] == real[2], words
    keys = b"".join(b"key%d\n" % number for number in range(510))
    ours, real = place.both("-q", "-", "cdb:map", stdin=keys)
    assert ours == real
    # Each reads what the other has written.
    written = (place.ours / "map.cdb").read_bytes(), (place.real / "map.cdb").read_bytes()
    (place.real / "map.cdb").write_bytes(written[0])
    (place.ours / "map.cdb").write_bytes(written[1])
    assert place.both("-q", "-", "cdb:map", stdin=keys) == (real, real)


@pytest.mark.long
def test_a_million_entries_take_no_longer_than_postfix_needs(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lines = (
        f"user{number}@example{number % 1000}.com\tsomebody{number}@inner.example.net" for number in range(1_000_000)
    )
    place.write("big", "\n".join(lines).encode() + b"\n")
    for kind in {"hash", "btree", "lmdb", "cdb"} & TYPES:
        took = []
        for work in (place.by_us, place.by_postfix):
            before = os.times()
            assert work("postmap", [f"{kind}:big"], b"") == (0, "", [""])
            # What else the machine does meanwhile counts for neither.
            took.append(sum(os.times()[:4]) - sum(before[:4]))
        assert took[0] < 1.5 * took[1], (kind, took)
