"""postqueue's options, texts and exit codes, each as Postfix 3.7 gave it for the same words."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.test_listing import REFUSED, listed

from postwarden.cli import postqueue, reach
from postwarden.ipc.queue_client import Denied, Down, Unserved
from postwarden.mail.queue import Listed
from postwarden.spool.offline import InUse, OfflineQueue

Captured = pytest.CaptureFixture[str]
USAGE = (
    "postqueue: fatal: usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site\n"
)
MAIL = (listed("A1", "a@b", {"c@d": REFUSED}), listed("A2", "", {"c@d": ""}, size=1000))


class Courier:
    """A mail system that runs, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.mail: tuple[Listed, ...] = MAIL
        self.error: Exception | None = None
        self.breaks: Exception | None = None

    def __call__(self, queue_directory: str, **_: object) -> "Courier":
        if self.error is not None:
            raise self.error
        return self

    def __enter__(self) -> "Courier":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def listing(self) -> Iterator[Listed]:
        yield from self.mail
        if self.breaks is not None:
            raise self.breaks

    def flush(self) -> None:
        self._ask("all")

    def flush_site(self, site: str) -> None:
        self._ask("site", site)

    def flush_message(self, queue_id: str) -> None:
        self._ask("message", queue_id)

    def _ask(self, what: str, value: str = "") -> None:
        if self.breaks is not None:
            raise self.breaks
        self.asked.append((what, value))


class Setting:
    def __init__(self, directory: Path, courier: Courier, captured: Captured) -> None:
        self.directory = directory
        self.courier = courier
        self._captured = captured

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = postqueue.main("postqueue", ["-c", str(self.directory), *words])
        return (code, *self._captured.readouterr())

    def fails(self, *words: str) -> str:
        code, out, err = self(*words)
        assert code == 69 and out == ""
        return err


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> Setting:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}/queue\nmaillog_file = {tmp_path}/log\n")
    courier = Courier()
    monkeypatch.setattr(reach, "QueueClient", courier)
    monkeypatch.delenv("MAIL_CONFIG", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    return Setting(tmp_path, courier, capsys)


WORDS = {
    "": USAGE,
    "-p -f": USAGE,
    "-p -p": USAGE,
    "-f -s sink.example": USAGE,
    "-fp": USAGE,
    "-p extra": USAGE,
    "-i": "postqueue: option requires an argument -- 'i'\n" + USAGE,
    "-x": "postqueue: invalid option -- 'x'\n" + USAGE,
    "--help": "postqueue: invalid option -- '-'\n" + USAGE,
    "-- -p": USAGE,
    "x -p": USAGE,
}


@pytest.mark.parametrize("words", WORDS)
def test_words_that_mean_nothing(run: Setting, words: str) -> None:
    assert run.fails(*words.split()) == WORDS[words]


SITES = ["sink.example", "a.b-c.example", "under_score.com", "SINK.example", "[127.0.0.1]", "[ipv6:::1]", "[IPv6:::1]"]
NO_SITES = [
    "", "bad_@x", "127.0.0.1", "[1.2.3]", "@sink.example", "a..b", "a" * 64 + ".com", "exämple.com", ".sink.example",
    "sink.example.", "-sink.example", "123",
]  # fmt: skip


@pytest.mark.parametrize("site", SITES)
def test_sites(run: Setting, site: str) -> None:
    assert run("-s", site) == (0, "", "")
    assert run.courier.asked == [("site", site)]


@pytest.mark.parametrize("site", NO_SITES)
def test_no_sites(run: Setting, site: str) -> None:
    assert run.fails("-s", site) == f'postqueue: fatal: Cannot flush mail queue - invalid destination: "{site}"\n'
    assert run.courier.asked == []


def test_a_long_site_is_cut(run: Setting) -> None:
    said = run.fails("-s", "x" * 256)
    assert said == f'postqueue: fatal: Cannot flush mail queue - invalid destination: "{"x" * 100}..."\n'


def test_flush_and_queue_ids(run: Setting) -> None:
    assert run("-f") == (0, "", "")
    assert run("-i", "ABCDEF") == (0, "", "")
    assert run("-v", "-vi", "a" * 255) == (0, "", "")
    assert run.courier.asked == [("all", ""), ("message", "ABCDEF"), ("message", "a" * 255)]


@pytest.mark.parametrize("queue_id", ["", "x y", "../../x", "a-b", "ä", "a\n"])
def test_no_queue_ids(run: Setting, queue_id: str) -> None:
    shown = queue_id.replace("\n", "?")
    assert run.fails("-i", queue_id) == f'postqueue: fatal: Cannot flush queue ID - invalid name: "{shown}"\n'


def test_what_the_courier_does_not_want(run: Setting) -> None:
    run.courier.breaks = Unserved("nope")
    said = run.fails("-s", "nope.example")
    assert said == 'postqueue: fatal: Flush service is not configured for destination "nope.example"\n'
    run.courier.breaks = Denied("User nobody(65534) is not allowed to flush the mail queue")
    assert run.fails("-f") == "postqueue: fatal: User nobody(65534) is not allowed to flush the mail queue\n"
    assert "postfix/postqueue[" in (run.directory / "log").read_text()


def refused() -> Down:
    error = Down("no")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    return error


@pytest.mark.parametrize("words", ["-f", "-i ABCDEF", "-s sink.example"])
def test_nothing_is_flushed_while_it_is_down(run: Setting, words: str) -> None:
    run.courier.error = refused()
    assert run.fails(*words.split()) == "postqueue: fatal: Cannot flush mail queue - mail system is down\n"


def test_the_listing(run: Setting) -> None:
    code, out, err = run("-p")
    assert (code, err) == (0, "")
    assert out.startswith("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\nA1  ")
    assert out.endswith("\n-- 1 Kbytes in 2 Requests.\n")
    code, out, err = run("-j")
    assert (code, err, out.count("\n")) == (0, "", 2)
    run.courier.mail = ()
    assert run("-p") == (0, "Mail queue is empty\n", "")
    assert run("-j") == (0, "", "")


def test_damage_is_told_and_the_rest_is_listed(run: Setting) -> None:
    from msgspec.structs import replace

    run.courier.mail = (replace(MAIL[0], raw_state=b"\xc1"), MAIL[1])
    code, out, err = run("-p")
    assert code == 0 and "A2 " in out and "A1 " not in out and err.startswith("postqueue: warning: A1: ")


def test_a_courier_that_ends_in_the_middle(run: Setting) -> None:
    run.courier.breaks = Down("the mail system has closed the connection")
    code, out, err = run("-p")
    assert code == 69 and "A1 " in out and "Requests" not in out
    assert err == "postqueue: fatal: Queue report unavailable - the mail system has closed the connection\n"


def test_who_may_not_read_the_files_is_told_that_it_is_down(run: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    run.courier.error = refused()
    assert run.fails("-p") == (
        "postqueue: fatal: Queue report unavailable - mail system is down"
        " (Connect to the Postfix showq service: Connection refused)\n"
    )


def test_who_may_reads_the_files(run: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    class Offline(Courier):
        pass

    files = Offline()
    run.courier.error = refused()
    monkeypatch.setattr(postqueue, "may_open_directly", lambda settings: True)
    monkeypatch.setattr(reach, "OfflineQueue", files)
    code, out, err = run("-j")
    assert code == 0 and out.count("\n") == 2
    assert err == (
        "postqueue: warning: Mail system is down -- accessing queue directly"
        " (Connect to the Postfix showq service: Connection refused)\n"
    )
    files.error = FileNotFoundError()
    assert run("-p")[:2] == (0, "Mail queue is empty\n")
    files.error = InUse("/q/courier.lock", 12)
    monkeypatch.setattr(reach, "_PATIENCE", 0.0)
    assert "Queue report unavailable - /q/courier.lock is locked by process 12\n" in run.fails("-p")


def test_files_are_not_held_while_somebody_reads_what_was_listed(run: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A courier could not start until he has turned the last page."""
    held: list[bool] = []
    written: list[int] = []

    class Files(OfflineQueue):
        def __init__(self, *_: object, **__: object) -> None:
            held.append(True)

        def listing(self) -> Iterator[Listed]:
            yield from MAIL * 5000

        def close(self) -> None:
            held.clear()

    def put(self: object, data: bytes) -> None:
        assert not held
        written.append(len(data))

    run.courier.error = refused()
    monkeypatch.setattr(postqueue, "may_open_directly", lambda settings: True)
    monkeypatch.setattr(reach, "OfflineQueue", Files)
    monkeypatch.setattr(postqueue, "OfflineQueue", Files)
    monkeypatch.setattr(postqueue.Output, "_put", put)
    assert run("-p")[0] == 0 and sum(written) > 1_000_000 and max(written) <= 1 << 16


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written(run: Setting) -> None:
    words = [sys.executable, "-c", "import sys; from postwarden.cli import postqueue, reach;"
             "from tests.unit.cli.test_postqueue import Courier; reach.QueueClient = Courier();"
             "sys.exit(postqueue.main('', sys.argv[1:]))"]  # fmt: skip
    with open("/dev/full", "wb") as full:
        path = os.pathsep.join(sys.path)
        done = subprocess.run(
            [*words, "-c", str(run.directory), "-p"],
            stdout=full, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (69, "postqueue: fatal: output write error: No space left on device\n")


def test_a_courier_that_is_started_again_is_waited_for(run: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def pause(seconds: float) -> None:
        run.courier.error = None

    run.courier.error = refused()
    monkeypatch.setattr(reach.time, "sleep", pause)
    monkeypatch.setattr(reach.lock, "running", lambda directory: 12)
    assert run("-p")[::2] == (0, "")
    run.courier.error = refused()
    assert run("-f") == (0, "", "")


def test_a_courier_that_is_starting_is_waited_for(run: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Courier()
    files.error = InUse("/q/courier.lock", 12)
    run.courier.error = refused()

    def pause(seconds: float) -> None:
        run.courier.error = None

    monkeypatch.setattr(postqueue, "may_open_directly", lambda settings: True)
    monkeypatch.setattr(reach, "OfflineQueue", files)
    monkeypatch.setattr(reach.time, "sleep", pause)
    code, out, _ = run("-p")
    assert code == 0 and "in 2 Requests" in out


def test_no_configuration(run: Setting, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "postqueue: fatal: open /nonexist/main.cf: No such file or directory\n"
    assert run.fails("-c", "/nonexist", "-p") == text
    monkeypatch.setenv("MAIL_CONFIG", "/nonexist")
    assert postqueue.main("postqueue", ["-p"]) == 69
    assert capsys.readouterr().err == text
    (tmp_path / "main.cf").write_text("bogus line\n")
    assert f"{tmp_path}/main.cf:1: " in run.fails("-p")


def test_mail_config_names_the_directory(run: Setting, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("MAIL_CONFIG", str(run.directory))
    assert postqueue.main("postqueue", ["-f"]) == 0
    assert run.courier.asked == [("all", "")]
