"""tcp:, socketmap: and memcache: beside the real postmap: the same servers, good and bad, the same answers."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.realpostfix import needs_postfix
from tests.tableservers import Answer, Memcached, TableServer, line, socketmap

from postwarden.config.errors import ConfigError
from postwarden.tables.opening import open_table
from postwarden.tables.table import TableError

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]
THEIRS, OURS = "/usr/sbin/postmap", "ours"
KEYS = ("User@Example.COM", "a b", "50%", "ü@é.example", "~!#$&'()*+,-./:;<=>?@[\\]^_`{|}", "x" * 300, "none")

GOOD_LINES = (
    b"200 hello\n", b"200 a%20b%25\n", b"500 none\n", b"200  x  y\n", b"200\tx\n", b"200 %c3%a4\n", b"200 x y \n",
    b"200 " + b"x" * 4091 + b"\n",
)  # fmt: skip
BAD_LINES = (
    b"400 later\n", b"200hello\n", b"200\n", b"300 x\n", b"x\n", b"\n", b"200 %zz\n", b"200 a%\n", b"200 \xff\n",
    b"500\n", b"2000 x\n",
)  # fmt: skip
GOOD_FRAMES = (b"OK hello", b"NOTFOUND ", b"NOTFOUND", b"NOTFOUND x", b"OK  a b ", b"OK " + b"x" * 99_997)
BAD_FRAMES = (
    b"OKx", b"TEMP later", b"TEMP", b"TIMEOUT x", b"PERM y", b"XX y", b"", b"ok x", b"OK \xff", b"OK " + b"x" * 99_998
)  # fmt: skip
GOOD_VALUES = (
    b"VALUE USER@a.B 0 5\r\nhello\r\nEND\r\n", b"END\r\n", b"END\n", b"VALUE k 0 5 7\r\nhello\r\nEND\r\n",
    b"VALUE k 0 4\r\na\nab\r\nEND\r\n",
)  # fmt: skip
BAD_VALUES = (
    b"ERROR\r\n", b"SERVER_ERROR out\r\n", b"VALUE x 0 9999999\r\n", b"VALUE x 0 -1\r\n", b"VALUE x 0\r\n", b"\r\n",
    b"VALUE x 0 5\r\nhelloX\r\nEND\r\n", b"x" * 2000 + b"\r\n", b"VALUE x 0 1\r\n\xff\r\nEND\r\n",
)  # fmt: skip


def asked(side: str, etc: Path, table: str, *words: str, keys: tuple[str, ...] = ("User@Example.COM",)) -> object:
    """(exit code, answers, whether there was an error)."""
    if side == OURS:
        return looked_up(etc, table, keys, fold="-f" not in words)
    done = subprocess.run(
        [THEIRS, "-c", str(etc), *words, "-q", "-", table], input="\n".join(keys) + "\n", capture_output=True,
        text=True, errors="surrogateescape", timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, bool(done.stderr)


def looked_up(etc: Path, name: str, keys: tuple[str, ...], *, fold: bool) -> object:
    """What our postmap makes of a table; a process for each of so many would be long."""
    said = ""
    try:
        table = open_table(name, str(etc), fold=fold)
        for key in keys:
            if found := table.get(key):
                said += f"{key}\t{found.value}\n"
    except (TableError, ConfigError):
        return 1, said, True
    return int(not said), said, False


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    (tmp_path / "master.cf").write_text("")
    return tmp_path


def both(work: Callable[[str], object]) -> None:
    with ThreadPoolExecutor(2) as side_by_side:
        theirs, ours = side_by_side.map(work, (THEIRS, OURS))
    assert ours == theirs


def each(cases: list[Callable[[str], object]]) -> None:
    """An error costs each postmap a second of sleep: they sleep together."""
    with ThreadPoolExecutor(16) as together:
        theirs = list(together.map(lambda case: case(THEIRS), cases))
        ours = list(together.map(lambda case: case(OURS), cases))
    assert ours == theirs


def case(etc: Path, answer: Answer, name: str) -> Callable[[str], object]:
    def work(side: str) -> object:
        with TableServer(answer) as server:
            return asked(side, etc, name.format(port=server.port))

    return work


def memcache(etc: Path, answer: Answer, number: int, *lines: str) -> Callable[[str], object]:
    def work(side: str) -> object:
        with TableServer(answer) as server:
            definition = etc / f"{number}{Path(side).parent.name}.cf"
            definition.write_text(
                "\n".join([f"memcache = inet:127.0.0.1:{server.port}", "retry_pause = 1", *lines, ""])
            )
            return asked(side, etc, f"memcache:{definition}"), list(server.questions)

    return work


def test_tcp(etc: Path) -> None:
    each([case(etc, line(reply), "tcp:127.0.0.1:{port}") for reply in (*GOOD_LINES, *BAD_LINES)])


def test_socketmap(etc: Path) -> None:
    name = "socketmap:inet:127.0.0.1:{port}:map"
    each([case(etc, socketmap(frame), name) for frame in (*GOOD_FRAMES, *BAD_FRAMES)])


def test_memcache(etc: Path) -> None:
    each([memcache(etc, line(reply), n) for n, reply in enumerate((*GOOD_VALUES, *BAD_VALUES))])


@pytest.mark.parametrize("words", [(), ("-f",)])
def test_what_is_asked(etc: Path, words: tuple[str, ...]) -> None:
    def questions(answer: Answer, name: str) -> Callable[[str], object]:
        def work(side: str) -> object:
            with TableServer(answer) as server:
                heard = asked(side, etc, name.format(port=server.port), *words, keys=KEYS)
                return heard, [question.replace(b"%c", b"%C").replace(b"%b", b"%B") for question in server.questions]

        return work

    def echo(question: bytes) -> bytes:
        return b"NOTFOUND " if question.endswith(b" none") else b"OK " + question

    both(questions(line(lambda data: b"200 " + data[4:]), "tcp:127.0.0.1:{port}"))
    both(questions(socketmap(echo), "socketmap:inet:127.0.0.1:{port}:a map"))


DEFINITIONS: tuple[tuple[str, ...], ...] = (
    (), ("backup = hash:{etc}/back",), ("backup = hash:{etc}/back", "ttl = 5", "flags = 7", "key_format = k:%s"),
    ("key_format = %u at %d",), ("key_format = a:%s:%u:%d:%1",), ("key_format = %9",), ("domain = example.com",),
    ("domain = other.example",), ("backup = hash:{etc}/back", "domain = other.example"), ("data_size_limit = 3",),
    ("line_size_limit = 11",), ("line_size_limit = 32",), ("key_format = %q",), ("max_try = 0",), ("memcache = foo:x",),
)  # fmt: skip


def test_memcache_definitions(etc: Path) -> None:
    (etc / "back").write_text("user@example.com from the backup\n")
    subprocess.run([THEIRS, "-c", str(etc), f"hash:{etc}/back"], check=True)

    def work(number: int, *lines: str) -> Callable[[str], object]:
        def heard(side: str) -> object:
            kept = Memcached(**{"other@example.com": "cached"})
            return memcache(etc, kept, number, *lines)(side), kept.settings

        return heard

    filled = [[line_.format(etc=etc) for line_ in lines] for lines in DEFINITIONS]
    each([work(number, *lines) for number, lines in enumerate(filled)])


def test_nobody_listens(etc: Path) -> None:
    port = free_port()
    (etc / "mc.cf").write_text(f"memcache = inet:127.0.0.1:{port}\n")
    names = (f"socketmap:inet:127.0.0.1:{port}:m", "socketmap:unix:/nowhere:m", f"memcache:{etc}/mc.cf")
    each([partial(asked, etc=etc, table=name) for name in names])
