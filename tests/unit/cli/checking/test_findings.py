import json

import pytest

from postwarden.cli.checking.findings import ALIKE, Finding, as_json, error, note, ordered, rendered, warning
from postwarden.mail.decision import BUILT_IN, Origin

ETC = "/etc/postfix"
MAIN, MASTER, TABLE = f"{ETC}/main.cf", f"{ETC}/master.cf", f"{ETC}/a-table"


def at(file: str, line: int = 1) -> Origin:
    return Origin(file, line, "")


def test_main_cf_comes_first_and_lines_in_order() -> None:
    found = [
        error(at(TABLE), what="t"),
        note(at(MASTER), what="m"),
        note(at(MAIN, 9), what="b"),
        error(at(MAIN, 2), what="a"),
    ]
    assert [f.what for f in ordered(found, ETC)] == ["a", "b", "m", "t"]


def test_a_default_is_shown_at_main_cf_where_it_can_be_changed() -> None:
    (only,) = ordered([warning(BUILT_IN, what="w")], ETC)
    assert rendered(only) == f"{MAIN}: warning: w"


def test_what_a_default_says_of_a_line_that_is_named_is_left_out() -> None:
    found = [error(at(MAIN, 3), what="mynetworks: bad x"), error(BUILT_IN, what="limit_exceptions: bad x")]
    assert [f.what for f in ordered(found, ETC)] == ["mynetworks: bad x"]


def test_one_place_is_told_one_thing_once() -> None:
    twice = [error(at(MAIN), what="x", why="first"), error(at(MAIN), what="x", why="second")]
    (only,) = ordered(twice, ETC)
    assert only.why == "first"


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding(at(MAIN, 4), "error", "what", "why", "cure"), f"{MAIN}:4: error: what; why; cure"),
        (Finding(at(MAIN, 4), "note", "what", "", "cure"), f"{MAIN}:4: note: what; cure"),
        (Finding(at(MAIN, 0), "warning", "what"), f"{MAIN}: warning: what"),
        (Finding(at(MAIN, 4), "error", "a\x1b[2Jb\nc"), f"{MAIN}:4: error: a?[2Jb?c"),
    ],
)
def test_one_line_each(finding: Finding, text: str) -> None:
    assert rendered(finding) == text


def test_json_has_every_field_and_is_text_whatever_the_file_held() -> None:
    (line,) = as_json([Finding(at(MAIN, 4), "error", "a\udcffb", "why", "cure")]).splitlines()
    assert json.loads(line) == {
        "file": MAIN, "line": 4, "severity": "error", "what": "a?b", "why": "why", "cure": "cure",
    }  # fmt: skip


def test_of_thousands_of_one_kind_the_first_are_shown_and_the_rest_counted() -> None:
    found = [warning(at(TABLE, n), what=f"duplicate {n}", why="the first counts") for n in range(1, 1001)]
    shown = ordered([*found, error(at(TABLE, 2000), what="another", why="reason")], ETC)
    assert len(shown) == ALIKE + 2
    assert shown[ALIKE].what == f"and {1000 - ALIKE} more like this: duplicate {ALIKE + 1}"
    assert shown[-1].what == "another"
