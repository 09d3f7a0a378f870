from functools import partial

import pytest

from postwarden.config.edit_master import COMMENTED, REMOVED, Change, edit_master, set_field, set_parameter
from postwarden.config.physical import Statement
from postwarden.config.written import Row, parse_row

MASTER = b"""\
# top
smtp inet n - y - - smtpd
  -o a=1
# mid
  -o { b = 2 3}

# of relay
relay unix - - n - - smtp
broken
"""


def row(text: str) -> Row:
    return parse_row(Statement(text, 0, 0, 0), "", [])


def changed(change: Change) -> str:
    return edit_master(MASTER, "master.cf", [change]).decode()


def test_an_entry_is_changed_where_it_is_and_comments_stay() -> None:
    assert changed(Change("smtp", "inet", partial(set_parameter, name="a", value="7"))) == (
        "# top\n"
        "smtp       inet  n       -       y       -       -       smtpd\n"
        "    -o a=7\n"
        "    -o {b=2 3}\n"
        "# mid\n\n# of relay\nrelay unix - - n - - smtp\nbroken\n"
    )


def test_entries_go_or_become_comments() -> None:
    rest = "# of relay\nrelay unix - - n - - smtp\nbroken\n"
    assert changed(Change("smtp", "*", fate=REMOVED)) == f"# top\n# mid\n\n{rest}"
    assert changed(Change("smtp", "inet", fate=COMMENTED)) == (
        f"# top\n#smtp inet n - y - - smtpd\n#  -o a=1\n# mid\n#  -o {{ b = 2 3}}\n\n{rest}"
    )


def test_a_new_entry_comes_last() -> None:
    change = Change("new", "unix", row=row("new unix - - n - - smtp -o x=y"))
    assert changed(change) == MASTER.decode() + (
        "new        unix  -       -       n       -       -       smtp\n    -o x=y\n"
    )
    assert not change.met


def test_of_several_entries_that_fit_the_first_is_replaced() -> None:
    master = b"a unix - - n - - smtp\nb unix - - n - - smtp\nc inet - - n - - smtpd\n"
    after = edit_master(master, "m", [Change("*", "unix", row=row("x unix - - - - - lmtp"))])
    assert after == b"x          unix  -       -       -       -       -       lmtp\nc inet - - n - - smtpd\n"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("chroot", "q", 'invalid chroot field "q" in "q"'),
        ("service", "a b", "-Fe does not accept whitespace in non-command field"),
        ("command", "", "can't be empty"),
        ("type", "tcp", 'invalid type field "tcp"'),
    ],
)
def test_a_bad_field_is_refused(name: str, value: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        changed(Change("smtp", "inet", partial(set_field, name=name, value=value)))


def test_a_command_brings_its_arguments() -> None:
    one = row("tt unix - n n - 10 pipe flags=R")
    set_field(one, "command", "pipe -v -o a={b} {c d}")
    assert (one.command, [str(argument) for argument in one.arguments]) == ("pipe", ["-v", "-o a={b}", "c d"])


def test_options_stand_before_arguments() -> None:
    one = row("tt unix - n n - 10 pipe -v flags=R -o x=1")
    set_parameter(one, "x", "2")
    assert [str(argument) for argument in one.arguments] == ["-v", "-o x=2", "flags=R", "-o", "x=1"]
    set_parameter(one, "x", None)
    assert [str(argument) for argument in one.arguments] == ["-v", "flags=R", "-o", "x=1"]
    set_parameter(one, "v", None)
    assert str(one.arguments[0]) == "-v"


def test_an_entry_that_is_meant_must_be_whole() -> None:
    master = b"ok unix - - n - - smtp\nsmtp inet n\n"
    with pytest.raises(ValueError, match="file m: line 2: bad field count"):
        edit_master(master, "m", [Change("smtp", "inet", partial(set_field, name="chroot", value="n"))])
    edit_master(master, "m", [Change("ok", "unix", partial(set_field, name="chroot", value="n"))])


def test_braces_stay_and_must_match() -> None:
    change = Change("tt", "unix", partial(set_parameter, name="a", value="1"))
    text = edit_master(b"tt unix - - - - - pipe { a b } { c }\n", "m", [change]).decode()
    assert text.splitlines()[1:] == ["    -o a=1", "    {a b} c"]
    for broken in (b"pipe${ x", b"pipe -v{ x", b"pipe {x"):
        with pytest.raises(ValueError, match="braces of service tt/unix"):
            edit_master(b"tt unix - - - - - " + broken + b"\n", "m", [change])
