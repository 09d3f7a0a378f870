from pathlib import Path

import pytest

from postwarden.mail.decision import Origin
from postwarden.tables import pcre2
from postwarden.tables.combined import leaves
from postwarden.tables.opening import open_table
from postwarden.tables.pcre import PcreTable
from postwarden.tables.pcre2 import CASELESS, Expression, PcreError, library
from postwarden.tables.table import TableError

try:
    library()
except PcreError:
    pytest.skip("needs libpcre2-8", allow_module_level=True)


def pcre(tmp_path: Path, text: str, key: str, *, literal: bool = False) -> str | None:
    (tmp_path / "rules").write_text(text)
    found = open_table("pcre:rules", str(tmp_path), literal=literal).get(key)
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("/^(a+)(b)?@/ got $1-${2}-$(1)-$$", "aab@x", "got aa-b-aa-$"),
        ("/^(a+)(b)?@/ got $1-${2}-$(1)-$$", "AA@x", "got AA--AA-$"),
        ("/(?<n>x)y/ $1", "xy", "x"),
        ("/a/i low", "A", None),
        ("/a/i low", "a", "low"),
        (r"/^\d+$/ num", "12", "num"),
        ("/é./ utf", "éx", "utf"),
        ("/^.$/ one", "é", None),
        ("/(*UTF)^.$/ one", "é", "one"),
        ("/a b/x x", "ab", "x"),
        ("/a.b/ dot", "a\nb", "dot"),
        ("/a.b/s dot", "a\nb", None),
        ("/^b$/m line", "a\nb\nc", "line"),
        ("/b$/E end", "b\n", None),
        ("/b$/ end", "b\n", "end"),
        ("/ab/A anchored", "xab", None),
        ("/(a+)/U $1", "aaa", "a"),
        ("/X/X x", "x", "x"),
        ("/(a)|(b)/ [$1][$2]", "b", "[][b]"),
        ("/(?!owner-)(.*)-out@(.*)/ ${1}@$2", "list-out@x", "list@x"),
        ("|a/b|i slash", "a/b", "slash"),
        ("!/a/ no a", "b", "no a"),
        ("!/a/ no a", "a", None),
        ("if /a/\n/b/ ab\nendif\n/c/ c", "ab", "ab"),
        ("if /a/\n/b/ ab\nendif\n/c/ c", "b", None),
        ("if !/a/\n/b/ b\nendif", "b", "b"),
        (r"/x\Ky/ $$", "xy", "$"),
    ],
)
def test_rules(tmp_path: Path, text: str, key: str, value: str | None) -> None:
    assert pcre(tmp_path, text, key) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/a/Z z", 'unknown regexp option "Z"'), ("/(/ bad", "error in regex at offset 1: missing closing parenthesis"),
        ("/b/ $1", "out of range replacement index"), ("/b/ $x", "non-numeric replacement index"),
        ("/b/", "no replacement text: using empty string"), ("!/(e)/ $1", "negated"), ("x y", "delimiter"),
        ("/f g", 'no closing "/"'),
        ("endif", "ENDIF without matching IF"), ("if /a/", "IF has no matching ENDIF"), ("/a/ x $", "substitution"),
    ],
)  # fmt: skip
def test_a_bad_rule_names_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rules").write_text(f"/first/ x\n{text}\n")
    (leaf,) = leaves(open_table(f"pcre:{tmp_path}/rules", "/"))
    assert isinstance(leaf, PcreTable)
    (problem,) = leaf.warnings
    assert str(problem).startswith(f"warning: {tmp_path}/rules:2: ")
    assert said in problem.text


def test_exponential_time_is_a_temporary_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="match limit exceeded"):
        pcre(tmp_path, "/(a+)+$/ x", "a" * 60 + "b")


def test_a_long_subject_is_no_error(tmp_path: Path) -> None:
    assert pcre(tmp_path, "/^(?:a|b)*c/ x", "ab" * 20_000 + "d") is None


def test_no_substitution_where_an_answer_says_what_is_done(tmp_path: Path) -> None:
    assert pcre(tmp_path, "/(.*)/ error:$1\n/a/ smtp:x", "a", literal=True) == "smtp:x"


def test_in_the_name() -> None:
    found = open_table("pcre:{{/^a$/ x}, {/b/ y}}", "/", Origin("main.cf", 3, "")).get("B")
    assert found is not None
    assert (found.value, str(found.origin)) == ("y", "main.cf:3")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcre2, "_NAMES", ("libnosuch.so",))
    library.cache_clear()
    try:
        with pytest.raises(PcreError, match="libpcre2-8 is needed"):
            Expression("a", CASELESS)
    finally:
        monkeypatch.undo()
        library.cache_clear()
