"""kill -9 of the courier while reports are due: each recipient is told of, and no more often than stated."""

import re
import smtplib
import threading
import time
from pathlib import Path

import pytest
from tests.whole import Gateway, Sink, running, until

pytestmark = pytest.mark.slow
PLAIN = "250-plain.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 99999999"


class Remote(Sink):
    """Has no DSN; refuses `bad`; whoever sends to `slow` waits until `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        super().__init__(refuse=self.answer)

    def answer(self, line: str) -> str | None:
        if line.startswith("EHLO"):
            return PLAIN
        if line.startswith("RCPT TO:<slow"):
            self.go.wait(90)
        return "550 5.1.1 no such user" if line.startswith("RCPT TO:<bad") else None

    def reports(self, subject: bytes) -> list[bytes]:
        return [content for _, _, content in self.messages if b"multipart/report" in content and subject in content]


def gateway(base: Path, sink: Remote, **settings: str) -> Gateway:
    times = {"minimal_backoff_time": "1s", "maximal_backoff_time": "2s", "queue_run_delay": "1s"}
    transports = f"inline:{{sink.example=smtp:[127.0.0.1]:{sink.port}, slow.example=relay:[127.0.0.1]:{sink.port}}}"
    return Gateway(base, sink.port, transport_maps=transports, **times, **settings)


def test_what_was_delivered_in_an_earlier_life_is_told_and_not_delivered_again(tmp_path: Path) -> None:
    sink = Remote()
    with running(gateway(tmp_path, sink)) as us:
        with smtplib.SMTP("127.0.0.1", us.port, timeout=30) as client:
            client.sendmail(
                "joe@sink.example", ["good@sink.example", "slow@slow.example"], "Subject: both\r\n\r\nbody\r\n", [],
                ["NOTIFY=SUCCESS"],
            )  # fmt: skip
        until(lambda: any(to == ["good@sink.example"] for _, to, _ in sink.messages), 60, us.log())
        until(lambda: "to=<good@sink.example>" in us.log())
        # What is removed is durable, and so is all that was settled before.
        with smtplib.SMTP("127.0.0.1", us.port, timeout=30) as client:
            client.sendmail("joe@sink.example", ["next@sink.example"], "Subject: next\r\n\r\nbody\r\n")
        until(lambda: ": removed" in us.log())
        for _ in range(3):
            us.kill("courier")
            time.sleep(1.0)
        assert sink.reports(b"both") == []
        sink.go.set()
        until(lambda: bool(sink.reports(b"both")), 60, us.log())
        time.sleep(1.0)
    (report,) = sink.reports(b"both")
    named = re.findall(rb"Final-Recipient: rfc822; (\S+)\r\nOriginal-Recipient: \S+\r\nAction: relayed", report)
    assert sorted(named) == [b"good@sink.example", b"slow@slow.example"]
    assert sum(to == ["good@sink.example"] for _, to, _ in sink.messages) == 1
    sink.close()


def test_each_failure_is_told(tmp_path: Path) -> None:
    sink = Remote()
    count = 300
    kills = 0
    with running(gateway(tmp_path, sink)) as us:
        with smtplib.SMTP("127.0.0.1", us.port, timeout=30) as client:
            for number in range(count):
                subject = f"Subject: failure-{number}-\r\n\r\nbody\r\n"
                client.sendmail("joe@sink.example", ["bad@sink.example", "bad2@sink.example"], subject)
                if number % 60 == 30:
                    until(lambda: bool(us.kill("courier")))
                    kills += 1
        names = [f"failure-{number}-".encode() for number in range(count)]
        until(lambda: all(sink.reports(name) for name in names), 90, us.log()[-3000:])
        time.sleep(1.0)
    copies = [len(sink.reports(name)) for name in names]
    print(f"{kills} kills, {count} failures, {sum(copies) - count} reports came twice")
    # At least once: the deliveries that were open at a kill, plus one commit group.
    assert sum(copies) - count <= kills * 60
    for name in names:
        for report in sink.reports(name):
            assert report.count(b"Final-Recipient: ") == 2
    sink.close()
