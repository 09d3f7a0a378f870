import io
import os
import sys
from pathlib import Path

import pytest

from postwarden.cli import postalias, postmap


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    (tmp_path / "main.cf").write_text("myhostname = mx.example.com\nalias_database = hash:aliases\nnosuch = x\n")
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


def test_a_bad_line_leaves_the_old_index(here: Path, capsys: Captured) -> None:
    assert postmap.main("postmap", ["map"]) == 0
    before = (here / "map.lmdb").read_bytes()
    (here / "map").write_text("a 9\nbad\n")
    assert postmap.main("postmap", ["map"]) == 1
    assert "map:2: " in capsys.readouterr().err
    assert (here / "map.lmdb").read_bytes() == before
    assert not [name for name in os.listdir(here) if name.startswith("map.") and name != "map.lmdb"]


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
    assert err.startswith("postmap: fatal: ")
    assert text in err


def test_aliases(here: Path, capsys: Captured) -> None:
    assert postalias.main("newaliases", [os.environ["MAIL_CONFIG"]]) == 0
    assert (here / "aliases.lmdb").exists()
    assert postalias.main("postalias", ["-q", "ROOT", "aliases"]) == 0
    assert postalias.main("postalias", ["-s", "aliases"]) == 0
    assert capsys.readouterr().out == "me\nroot:\tme\n"
