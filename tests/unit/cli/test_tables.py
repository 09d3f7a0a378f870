import io
import os
import sys
from pathlib import Path

import pytest
from tests.passable import passable

from postwarden.cli import postalias, postmap


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    (tmp_path / "main.cf").write_text(
        "myhostname = mx.example.com\nalias_database = hash:aliases\nnosuch = x\ncompatibility_level = 3.6\n"
    )
    (tmp_path / "map").write_text("A 1\nb 2\n")
    (tmp_path / "aliases").write_text("Root: me\n")
    return tmp_path


Captured = pytest.CaptureFixture[str]


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_create_query_list_and_delete(here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert postmap.main("postmap", ["-q", "a", "hash:map"]) == 0
    assert postmap.main("postmap", ["map"]) == 0
    assert (here / "map.lmdb").exists()
    assert postmap.main("postmap", ["-q", "zz", "map"]) == 1
    assert postmap.main("postmap", ["-s", "lmdb:map"]) == 0
    assert postmap.main("postmap", ["-d", "A", "map"]) == 0
    assert postmap.main("postmap", ["-d", "A", "map"]) == 1
    feed(monkeypatch, "c 3\nb 9\n")
    assert postmap.main("postmap", ["-ir", "map"]) == 0
    feed(monkeypatch, "a\nb\nc\n")
    assert postmap.main("postmap", ["-q", "-", "map"]) == 0
    out, err = capsys.readouterr()
    assert out == "1\na\t1\nb\t2\nb\t9\nc\t3\n"
    assert err == ""


def test_a_bad_line_is_said_and_left_out(here: Path, capsys: Captured) -> None:
    (here / "map").write_bytes(b' x y\na 9\nbad\nA 8\nk: v\n\xff w\n"q r s\n')
    assert postmap.main("postmap", ["lmdb:map"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        'postmap: warning: map: logical line must not start with whitespace: " x y"',
        "postmap: warning: map, line 3: expected format: key whitespace value",
        'postmap: warning: lmdb:map: duplicate entry: "a"',
        'postmap: warning: map, line 5: record is in "key: value" format; is this an alias file?',
        'postmap: warning: map, line 6: non-UTF-8 input "? w" -- ignoring this line',
        "postmap: warning: map, line 7: unbalanced '\"' in '\"q r s' -- ignoring this line",
    ]
    assert postmap.main("postmap", ["-s", "lmdb:map"]) == 0
    assert capsys.readouterr().out == "a\t9\nk:\tv\n"
    assert not [name for name in os.listdir(here) if name.startswith("map.") and name != "map.lmdb"]


def test_files_as_values(here: Path, capsys: Captured) -> None:
    (here / "one").write_text("1\n")
    (here / "two").write_text("2")
    (here / "map").write_text("a one, two\nb nosuch\n")
    assert postmap.main("postmap", ["-F", "lmdb:map"]) == 0
    assert postmap.main("postmap", ["-q", "a", "lmdb:map"]) == 0
    assert postmap.main("postmap", ["-F", "-q", "a", "lmdb:map"]) == 0
    out, err = capsys.readouterr()
    assert out == "MQoKMg==\n1\n\n2\n"
    assert err.startswith("postmap: warning: map")
    assert "open nosuch: No such file or directory: skipping this entry" in err
    assert postmap.main("postmap", ["-F", "-q", "a", "inline:{a=x}"]) == 1
    assert "malformed BASE64 value: x" in capsys.readouterr().err


MESSAGE = """\
Subject: a
  b
Content-Type: multipart/mixed; boundary="b1"

pre
--b1
X-Part: 1

body
--b1
Content-Type: message/rfc822

Subject: inner

text
--b1--
end
"""


@pytest.mark.parametrize(
    ("letters", "keys"),
    [
        ("-h", ["Subject: a\n  b", 'Content-Type: multipart/mixed; boundary="b1"']),
        ("-b", MESSAGE.splitlines()[3:]),
        (
            "-hm",
            ["Subject: a\n  b", 'Content-Type: multipart/mixed; boundary="b1"', "X-Part: 1",
             "Content-Type: message/rfc822", "Subject: inner"],
        ),
        ("-bm", ["", "pre", "--b1", "", "body", "--b1", "", "", "text", "--b1--", "end"]),
    ],
)  # fmt: skip
def test_messages_as_keys(letters: str, keys: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, MESSAGE)
    assert postmap.main("postmap", [letters, "-q", "-", "static:X"]) == 0
    assert capsys.readouterr().out == "".join(f"{key}\tX\n" for key in keys)


def test_json(here: Path, capsys: Captured) -> None:
    (here / "map").write_text('a "b" \\\n')
    assert postmap.main("postmap", ["lmdb:map"]) == 0
    assert postmap.main("postmap", ["-js", "lmdb:map"]) == 0
    assert postmap.main("postmap", ["-j", "-q", "a", "lmdb:map"]) == 0
    assert capsys.readouterr().out == '{"a": "\\"b\\" \\\\"}\n' * 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "usage"),
        (["-z", "map"], "usage"),
        (["-q", "a", "-s", "map"], "only one of"),
        (["hash:nosuch"], "nosuch: No such file or directory"),
        (["regexp:map"], "unsupported dictionary type: regexp does not support bulk-mode creation."),
        (["-q", "a", "frob:map"], "unsupported"),
        (["-s", "static:x"], "sequence operation is not supported"),
    ],
)
def test_failures_say_why(words: list[str], text: str, capsys: Captured) -> None:
    assert postmap.main("postmap", words) == 1
    err = capsys.readouterr().err
    assert "postmap: fatal: " in err
    assert text in err


def test_aliases(here: Path, capsys: Captured) -> None:
    assert postalias.main("newaliases", [os.environ["MAIL_CONFIG"]]) == 0
    assert (here / "aliases.lmdb").exists()
    assert postalias.main("postalias", ["-q", "ROOT", "aliases"]) == 0
    assert postalias.main("postalias", ["-s", "aliases"]) == 0
    assert capsys.readouterr().out == "me\nroot:\tme\n"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_in_the_directory_of_another(here: Path, capsys: Captured) -> None:
    place = here / "theirs"
    place.mkdir()
    (place / "map").write_text("a 1\n")
    os.chown(place, 65534, 65534)
    assert postmap.main("postmap", ["lmdb:theirs/map"]) == 0
    assert "that of user 65534" in capsys.readouterr().err
    passable(here)
    os.chown(place / "map", 65534, 65534)
    (place / "map.lmdb").unlink()
    assert postmap.main("postmap", ["lmdb:theirs/map"]) == 0
    assert capsys.readouterr().err == ""
    assert (place / "map.lmdb").stat().st_uid == 65534
