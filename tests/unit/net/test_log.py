import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from postwarden.mail.envelope import Client
from postwarden.mail.events import Connected, Delivered, Disconnected, Notice, Warn, delay
from postwarden.mail.status import Status
from postwarden.net.log import FileSink, MailLog, MemorySink, SyslogSink


def test_lines_of_one_turn_leave_together() -> None:
    sink, later = MemorySink(), list[Callable[[], None]]()
    log = MailLog(sink, "postfix", later.append)
    log.emit("smtpd", Connected(Client("localhost", "127.0.0.1")))
    log.emit("smtpd", Warn("odd"), "postfix/submission")
    assert sink.lines == [] and len(later) == 1
    later[0]()
    pid = os.getpid()
    assert sink.lines == [
        f"postfix/smtpd[{pid}]: connect from localhost[127.0.0.1]",
        f"postfix/submission/smtpd[{pid}]: warning: odd",
    ]


def test_a_newline_in_a_name_does_not_forge_a_line() -> None:
    assert str(Connected(Client("a\nb", "1.2.3.4"))) == "connect from a?b[1.2.3.4]"


def test_file_lines_look_like_postlogd(tmp_path: Path) -> None:
    path = tmp_path / "maillog"
    sink = FileSink(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), "mx.example.com", lambda: 0.0)
    sink.write([("info", "postfix/smtpd[1]: x")])
    assert path.read_text().endswith(" mx postfix/smtpd[1]: x\n")


@pytest.mark.parametrize("blocking", [False, True])
def test_a_pipe_whose_reader_is_stuck_holds_up_nobody_and_gets_each_line_once(blocking: bool) -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.set_blocking(writer, blocking)
    log = MailLog(FileSink(writer, "mx.example.com"), "postfix")
    sent = [f"{n} {'x' * (n % 5000)}" for n in range(150)]
    for text in sent:
        log.emit("smtpd", Notice(text))
    got = b""
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            got += os.read(reader, 1 << 20)
        log.flush()
    log.close()
    os.close(reader)
    assert [line.partition(": ")[2] for line in got.decode().splitlines()] == sent


def test_lines_of_several_processes_do_not_mix_in_a_pipe() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    sinks = [FileSink(os.dup(writer), name) for name in ("one", "two")]
    lines = [[("info", f"{sink} {'y' * 1500} {n}") for n in range(60)] for sink in ("one", "two")]
    got = b""
    for _ in range(100):
        for sink, waiting in zip(sinks, lines, strict=True):
            sink.write(waiting)
        with contextlib.suppress(BlockingIOError):
            got += os.read(reader, 5000)
    assert lines == [[], []]
    for sink in sinks:
        sink.close()
    os.close(writer)
    while data := os.read(reader, 1 << 20):
        got += data
    os.close(reader)
    assert all(line.count("y") == 1500 for line in got.decode().splitlines())


def test_a_log_that_cannot_be_written_drops_and_says_so() -> None:
    class Broken(MemorySink):
        works = False

        def write(self, lines: list[tuple[str, str]]) -> bool:
            return self.works and super().write(lines)

    sink = Broken()
    log = MailLog(sink, "postfix")
    for _ in range(3000):
        log.emit("smtpd", Notice("x" * 1000))
    sink.works = True
    log.flush()
    assert 900 < len(sink.lines) < 1100
    assert "log lines were dropped" in sink.lines[-1]


def test_a_log_with_a_full_buffer_recovers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(MemorySink):
        works = False

        def write(self, lines: list[tuple[str, str]]) -> bool:
            return self.works and super().write(lines)

    now = 1000.0
    monkeypatch.setattr("postwarden.net.log.time.monotonic", lambda: now)
    sink, later = Broken(), list[Callable[[], None]]()

    def turn(log: MailLog) -> None:
        log.emit("smtpd", Notice("x" * 1000))
        for callback in later[:]:
            later.remove(callback)
            callback()

    log = MailLog(sink, "postfix", later.append)
    for _ in range(1100):
        turn(log)
    sink.works = True
    turn(log)
    assert sink.lines == []
    now += 2
    turn(log)
    turn(log)
    assert "log lines were dropped" in "".join(sink.lines[-2:])


def test_syslog_that_is_not_there_is_a_failed_write(tmp_path: Path) -> None:
    assert not SyslogSink(str(tmp_path / "none")).write([("info", "x")])


def test_a_line_without_end_does_not_stop_syslog(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        log = MailLog(SyslogSink(str(tmp_path / "log")), "postfix")
        log.emit("cleanup", Notice("\N{EURO SIGN}" * (1 << 20)))
        log.emit("smtpd", Notice("after it"))
        log.close()
        daemon.setblocking(False)
        assert len(daemon.recv(1 << 20)) < 30_000
        assert daemon.recv(1 << 20).endswith(b"after it")


def test_delays_as_postfix_prints_them() -> None:
    assert [delay(x) for x in (0, 0.004, 0.014, 0.1, 0.99, 1.04, 3.0, 9.96, 12.3)] == [
        "0", "0", "0.01", "0.1", "0.99", "1", "3", "10", "12",
    ]  # fmt: skip


def test_delivery_and_disconnect_lines() -> None:
    status = Status("2.0.0", "250 2.0.0 Ok: queued as X", "mx[1.2.3.4]:25")
    assert str(Delivered("Q", "a@b", "c@b", status, (0.1, 0.02, 0, 1.5))) == (
        "Q: to=<a@b>, orig_to=<c@b>, relay=mx[1.2.3.4]:25, delay=1.6, delays=0.1/0.02/0/1.5, dsn=2.0.0, "
        "status=sent (250 2.0.0 Ok: queued as X)"
    )
    client = Client("unknown", "1.2.3.4")
    assert str(Disconnected(client, (("ehlo", 1, 1), ("rcpt", 0, 2)))) == (
        "disconnect from unknown[1.2.3.4] ehlo=1 rcpt=0/2 commands=1/3"
    )
