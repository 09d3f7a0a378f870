"""What the end of a program means; codes and texts are what local(8) and pipe(8) of Postfix 3.7 log."""

import pytest

from postwarden.deliver.programs.exits import failure, text_of
from postwarden.deliver.programs.ports import Ran

NAME = "/bin/x"
CASES = [
    (Ran(exit=1), "5.3.0", 'Command died with status 1: "/bin/x"'),
    (Ran(exit=64), "5.3.0", "command line usage error"),
    (Ran(exit=67), "5.1.1", "user unknown"),
    (Ran(exit=73), "5.2.0", "can't create user output file"),
    (Ran(exit=75), "4.3.0", "temporary failure"),
    (Ran(exit=77), "5.7.0", "permission denied"),
    (Ran(exit=78), "5.3.5", "local configuration error"),
    (Ran(exit=79), "5.3.0", 'Command died with status 79: "/bin/x"'),
    (Ran(b"one\ntwo\n", exit=75), "4.3.0", "temporary failure. Command output: one two "),
    (Ran(b"one\n", exit=1), "5.3.0", 'Command died with status 1: "/bin/x". Command output: one '),
    (Ran(b"5.7.9 go away\n", exit=1), "5.7.9", "go away "),
    (Ran(b"4.7.9 later\n", exit=67), "4.7.9", "later "),
    (Ran(b"2.7.9 fine\n", exit=1), "5.0.0", "fine "),
    (Ran(b"5.7.9\n", exit=1), "5.7.9", ""),
    (Ran("5.１.1 x\n".encode(), exit=67), "5.1.1", "user unknown. Command output: 5.１.1 x "),
    (Ran(b"5.7.9x foo\n", exit=75), "4.3.0", "temporary failure. Command output: 5.7.9x foo "),
    (Ran(b"5.7.9 x\n", signal=9), "4.3.0", 'Command died with signal 9: "/bin/x". Command output: 5.7.9 x '),
    (Ran(late=True), "5.3.0", 'Command time limit exceeded: "/bin/x"'),
    (Ran(b"begun\n", late=True), "5.3.0", 'Command time limit exceeded: "/bin/x". Command output: begun '),
]


@pytest.mark.parametrize(("ran", "code", "text"), CASES)
def test_failures(ran: Ran, code: str, text: str) -> None:
    status = failure(ran, NAME)
    assert status is not None
    assert (status.code, status.text) == (code, text)


@pytest.mark.parametrize("output", [b"", b"5.7.9 go away\n", b"\xff"])
def test_success(output: bytes) -> None:
    assert failure(Ran(output), NAME) is None


@pytest.mark.parametrize("code", range(1, 256))
def test_every_exit_has_a_status(code: int) -> None:
    status = failure(Ran(exit=code), NAME)
    assert status is not None
    assert status.code[0] in "45"
    assert status.program_said


def test_what_a_report_quotes() -> None:
    def said(ran: Ran) -> str:
        status = failure(ran, NAME)
        return "" if status is None else status.program_said

    assert said(Ran(b"no room\n", exit=1)) == "no room "
    assert said(Ran(exit=67)) == "user unknown"
    assert said(Ran(exit=1)) == "unknown mail system error 1"
    assert said(Ran(signal=11)) == "internal software error"
    assert said(Ran(b"5.7.1 no\n", exit=1)) == "no "


def test_output_is_made_harmless() -> None:
    assert text_of(b"a\x01b\xffc\n\ttab\r\x1b[2J\xc3\xa4") == "a_b_c  tab__[2Jä"
