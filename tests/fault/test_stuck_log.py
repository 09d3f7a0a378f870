"""A log that goes to standard output, and nobody who reads it."""

import contextlib
import os
import smtplib
import subprocess
from pathlib import Path

import pytest
from tests.whole import PROGRAM, Gateway, Sink, until

pytestmark = pytest.mark.slow


def test_mail_goes_on_and_each_line_comes_once_the_reader_is_back(tmp_path: Path) -> None:
    sink = Sink()
    gateway = Gateway(tmp_path, sink.port, maillog_file="/dev/stdout")
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    master = subprocess.Popen([PROGRAM, "-c", gateway.etc, "start-fg"], stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    heard = bytearray()

    def log() -> str:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(reader, 1 << 20):
                heard.extend(data)
        return heard.decode()

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.sendmail("a@sender.example", ["r@sink.example"], "Subject: x\r\n\r\nbody\r\n")

    try:
        until(lambda: gateway.command("status", check=False).returncode == 0)
        for _ in range(300):
            send()
        until(lambda: len(sink.messages) == 300, 60, "300 messages are more lines than a pipe holds")
        assert "connect from" in log()
        send()

        def written() -> bool:
            send()
            return log().count(": removed") >= 300

        until(written, 60, "what waited is written with what comes next")
        assert log().count("status=sent") <= len(sink.messages)
    finally:
        master.terminate()
        until(lambda: bool(log()) and master.poll() is not None, 60)
        os.close(reader)
        sink.close()
    ids = [line.split(": ")[1] for line in heard.decode().splitlines() if line.endswith(": removed")]
    assert len(ids) == len(set(ids)) == len(sink.messages)
