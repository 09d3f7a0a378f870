import fcntl
import io
import os
import pwd
from pathlib import Path

import pytest

from postwarden.cli import import_queue
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.roles import lock
from postwarden.spool.offline import OfflineQueue
from postwarden.spool.postfix_import import ASIDE
from postwarden.spool.postfix_writer import Stored, Style, write

OWNER = "mail" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Configuration of ours, and a Postfix queue directory with a message."""
    target = io.BytesIO()
    envelope = Envelope("ABC", 1_700_000_000.0, "from@x", (Recipient("a@x"), Recipient("b@x")), 0)
    write(target, Stored(envelope, frozenset({0, 1})), b"A: b\r\n\r\n", [b"body\r\n"], Style())
    path = tmp_path / "theirs" / "deferred" / "A" / "ABC"
    path.parent.mkdir(parents=True)
    path.write_bytes(target.getvalue())
    path.chmod(0o700)
    settings = {
        "queue_directory": f"{tmp_path}/ours", "data_directory": f"{tmp_path}/data", "mail_owner": OWNER,
        "maillog_file": f"{tmp_path}/log",
    }  # fmt: skip
    (tmp_path / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (tmp_path / "ours").mkdir()
    return tmp_path


def call(etc: Path, *words: str) -> int:
    return import_queue.main("import-queue", [str(etc), *words])


def queue_ids(etc: Path) -> list[str]:
    with OfflineQueue(str(etc / "ours")) as queue:
        return [listed.queue_id for listed in queue.listing()]


def test_all_is_taken_over_and_said(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(etc, str(etc / "theirs")) == 0
    out = capsys.readouterr().out
    assert "deferred          1\n" in out and "1 message with 2 recipients taken over from " in out
    assert f"are kept in {etc}/theirs/{ASIDE}: " in out
    assert queue_ids(etc) == ["ABC"]
    log = (etc / "log").read_text()
    assert "import-queue" in log and ": ABC: from=<from@x>, size=14, nrcpt=2 (taken over from deferred)\n" in log
    assert "1 message taken over from " in log
    assert call(etc, str(etc / "theirs")) == 0
    assert "0 messages with 0 recipients" in capsys.readouterr().out


def test_what_is_left_is_named_and_the_exit_code_tells(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = etc / "theirs" / "deferred" / "A" / "ABD"
    bad.write_bytes(b"")
    bad.chmod(0o700)
    assert call(etc, str(etc / "theirs")) == 1
    assert capsys.readouterr().err == f"left: {bad}: missing end record\nnot taken over: 1 file\n"


@pytest.mark.parametrize("option", ["-n", "--dry-run"])
def test_a_dry_run(etc: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert call(etc, option, str(etc / "theirs")) == 0
    out = capsys.readouterr().out
    assert "1 message with 2 recipients would be taken over" in out and ASIDE not in out
    assert (etc / "theirs" / "deferred" / "A" / "ABC").exists() and not (etc / "ours" / "postwarden").exists()


def test_the_default_is_our_own_queue_directory(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("default",)):
        assert call(etc, *words) == 1
        assert "ours is no Postfix queue: there is no incoming" in capsys.readouterr().err
    (etc / "theirs" / "deferred").rename(etc / "ours" / "deferred")
    assert call(etc, "default") == 0 and queue_ids(etc) == ["ABC"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-x"], "postwarden: fatal: option -x not recognized\nusage: postwarden import-queue "),
        (["a", "b"], "postwarden: fatal: more than one directory\nusage: postwarden import-queue "),
        (["/nonexistent"], "postwarden: fatal: /nonexistent is no Postfix queue: "),
    ],
)
def test_mistakes(etc: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert call(etc, *words) == 1
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(("whose", "said"), [("theirs", "a Postfix runs"), ("ours", "postwarden or a Postfix runs")])
def test_while_a_mail_system_runs(etc: Path, capsys: pytest.CaptureFixture[str], whose: str, said: str) -> None:
    (etc / whose / "pid").mkdir()
    with (etc / whose / "pid" / "master.pid").open("w") as lock:
        lock.write("        77\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert call(etc, str(etc / "theirs")) == 1
        assert f"{said} on {etc}/{whose} (process 77): stop it first" in capsys.readouterr().err
        assert call(etc, "-n", str(etc / "theirs")) == 0
        assert "may be gone when it has stopped" in capsys.readouterr().err


def test_a_full_disk_ends_it_with_a_word(
    etc: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(OfflineQueue, "import_", full)
        assert call(etc, str(etc / "theirs")) == 1
    assert "interrupted: [Errno 28] No space left on device; run it again" in capsys.readouterr().err
    assert (etc / "theirs" / "deferred" / "A" / "ABC").exists()
    assert call(etc, str(etc / "theirs")) == 0


def test_neither_starts_meanwhile(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(self: object) -> None:
        seen.extend(lock.running(str(etc / whose)) for whose in ("theirs", "ours"))

    monkeypatch.setattr(import_queue.Import, "run", look)
    assert call(etc, str(etc / "theirs")) == 0
    assert seen == [os.getpid(), os.getpid()]
