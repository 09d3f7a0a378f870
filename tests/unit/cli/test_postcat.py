import io
import os
import sys
from pathlib import Path

import pytest

from postwarden.cli import postcat, queued
from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.mail.queue import HOLD, NewMessage
from postwarden.mail.status import Status
from postwarden.spool.files import make_spool
from postwarden.spool.layout import spool_directory
from postwarden.spool.offline import OfflineQueue
from postwarden.spool.postfix_records import record

FILE = b"".join(
    record(kind, data)
    for kind, data in (
        ("C", b"%15d %15d %15d %15d %15d %15d" % (22, 137, 1, 0, 22, 0)),
        ("T", b"86400 5"), ("A", b"create_time=86400"), ("S", b"a@x"), ("R", b"b@y"),
        ("M", b""), ("N", b"Subject: x"), ("N", b""), ("L", b"bo"), ("N", b"dy"), ("X", b""), ("E", b""),
    )
)  # fmt: skip


@pytest.fixture
def say(capfdbinary: pytest.CaptureFixture[bytes]) -> "Say":
    return Say(capfdbinary)


class Say:
    def __init__(self, captured: pytest.CaptureFixture[bytes]) -> None:
        self._captured = captured

    def __call__(self, *words: str) -> tuple[int, bytes, bytes]:
        code = postcat.main("postcat", list(words))
        sys.stdout.flush()
        said = self._captured.readouterr()
        return code, said.out, said.err


@pytest.fixture(autouse=True)
def greenwich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")


def test_all_of_a_file(say: Say, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(FILE)
    name = os.fsencode(tmp_path / "f")
    assert say(str(tmp_path / "f")) == (
        0,
        b"*** ENVELOPE RECORDS " + name + b" ***\n"
        b"message_size:              22             137               1               0              22"
        b"               0\n"
        b"message_arrival_time: Fri Jan  2 00:00:00 1970\n"
        b"create_time: Fri Jan  2 00:00:00 1970\nsender: a@x\nrecipient: b@y\n"
        b"*** MESSAGE CONTENTS " + name + b" ***\nSubject: x\n\nbody\n"
        b"*** HEADER EXTRACTED " + name + b" ***\n*** MESSAGE FILE END " + name + b" ***\n",
        b"",
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-h"], b"Subject: x\n"),
        (["-b"], b"\nbody\n"),
        (["-bh"], b"Subject: x\n\nbody\n"),
        (["-bv"], b"regular_text: \nunterminated_text: bo\nregular_text: dy\n"),
        (["-bo"], b"      149 \n      151 bo\n      155 dy\n"),
    ],
)
def test_parts(say: Say, tmp_path: Path, options: list[str], text: bytes) -> None:
    (tmp_path / "f").write_bytes(FILE)
    assert say(*options, str(tmp_path / "f")) == (0, text, b"")


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_standard_input(say: Say, monkeypatch: pytest.MonkeyPatch, kind: type[io.BytesIO]) -> None:
    class Input:
        buffer = kind(FILE)

    monkeypatch.setattr(sys, "stdin", Input())
    assert say("-h")[:2] == (0, b"Subject: x\n")


def test_damage_is_told_where_it_is_met(say: Say, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(FILE[:141])
    code, out, err = say(str(tmp_path / "f"))
    assert code == 1 and out.endswith(b"MESSAGE CONTENTS %b ***\n" % os.fsencode(tmp_path / "f"))
    assert err.endswith(b"unexpected EOF in data, record type 78 length 10\npostcat: fatal: record read error\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/nonexistent"], b"postcat: fatal: open /nonexistent: No such file or directory\n"),
        (["-s", "x"], b"postcat: fatal: bad offset: x\n"),
        (["-q", "../x"], b"postcat: fatal: bad mail queue ID: ../x\n"),
        (["-z"], b"postcat: invalid option -- 'z'\npostcat: fatal: usage: postcat [-b (body text)] "),
        (["-c"], b"postcat: option requires an argument -- 'c'\npostcat: fatal: usage: postcat [-b (body text)] "),
    ],
)
def test_mistakes(say: Say, tmp_path: Path, words: list[str], said: bytes) -> None:
    (tmp_path / "main.cf").write_text("")
    code, out, err = say(*([] if words == ["-c"] else ["-c", str(tmp_path)]), *words)
    assert (code, out) == (1, b"") and err.startswith(said)


def queue(base: Path, due: float = 5.0) -> Path:
    spool = base / "queue"
    make_spool(spool_directory(str(spool)))
    (base / "main.cf").write_text(f"queue_directory = {spool}\ndelay_warning_time = 1h\n")
    client = Client("mx.y", "192.0.2.1", 25, "mx.y", "helo", "ESMTP")
    recipients = (Recipient("a@x"), Recipient("b@x", "old@x", notify=4))
    envelope = Envelope("ABC", 86400.0, "s@y", recipients, 12, client=client, server=("::1", 25))
    refused = {0: Status("5.1.1", "no")}
    with OfflineQueue(str(spool)) as ours:
        ours.import_(
            [NewMessage(envelope, b"A: b\r\n\r\n", b"b\r\n", due=due, attempts=1, untold=refused, warned=True)]
        )
    return spool


def test_a_message_of_ours(say: Say, tmp_path: Path) -> None:
    queue(tmp_path)
    code, out, err = say("-c", str(tmp_path), "-q", "ABC")
    assert (code, err) == (0, b"")
    assert out.startswith(b"*** ENVELOPE RECORDS deferred/A/ABC ***\n")
    assert out.endswith(b"deferred/A/ABC ***\nA: b\n\nb\n*** HEADER EXTRACTED deferred/A/ABC ***\n"
                        b"*** MESSAGE FILE END deferred/A/ABC ***\n")  # fmt: skip
    for line in (
        b"named_attribute: log_client_name=mx.y", b"named_attribute: server_address=::1",
        b"warning_message_time: Thu Jan  1 00:00:00 1970", b"done_recipient: a@x", b"recipient: b@x",
        b"original_recipient: old@x", b"named_attribute: notify_flags=4", b"sender: s@y",
    ):  # fmt: skip
        assert line in out.splitlines()


def test_one_on_hold_and_one_that_is_not_there(say: Say, tmp_path: Path) -> None:
    queue(tmp_path, HOLD)
    code, out, err = say("-c", str(tmp_path), "-q", "-e", "ABC", "XYZ")
    assert code == 1 and out.startswith(b"*** ENVELOPE RECORDS hold/ABC ***\n")
    assert err == b"postcat: fatal: open queue file XYZ: No such file or directory\n"


def test_a_stranger_may_not_look(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue(tmp_path)
    monkeypatch.setattr(queued, "may_open_directly", lambda settings: False)
    assert say("-c", str(tmp_path), "-q", "ABC") == (
        1,
        b"",
        b"postcat: fatal: open queue file ABC: Permission denied\n",
    )


def test_what_a_postfix_left_in_the_same_directory(say: Say, tmp_path: Path) -> None:
    spool = queue(tmp_path)
    (spool / "deferred" / "F").mkdir(parents=True)
    (spool / "deferred" / "F" / "F00").write_bytes(FILE)
    assert say("-c", str(tmp_path), "-q", "-h", "F00") == (0, b"Subject: x\n", b"")


def test_a_damaged_size_leads_to_no_circle(say: Say, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(record("C", b"1 1") + record("S", b"x") + record("M", b"") + record("N", b"no header"))
    code, _, _ = say("-e", str(tmp_path / "f"))
    assert code == 0
