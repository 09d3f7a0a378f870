"""Tables that can't answer while mail is expanded, routed and returned: it waits, nobody is refused for good, and with
the table all goes on by itself."""

import os
import re
import smtplib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.whole import PROGRAM, Gateway, Sink, running, until

pytestmark = pytest.mark.slow

SOON = dict.fromkeys(("minimal_backoff_time", "maximal_backoff_time", "queue_run_delay"), "1s")


class Index:
    """A table that postmap or postalias has compiled, and that breaks and is mended in place."""

    def __init__(self, path: Path, text: str, tool: str = "postmap") -> None:
        self.path = path.with_name(path.name + ".lmdb")
        self.name = f"hash:{path}"
        path.write_text(text)
        subprocess.run([PROGRAM, tool, self.name], check=True, timeout=60)
        self.good = self.path.read_bytes()

    def write(self, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def break_down(self) -> None:
        self.write(bytes(len(self.good)))

    def mend(self) -> None:
        self.write(self.good)


def submit(gateway: Gateway, recipient: str, sender: str = "a@home.example") -> int:
    words = [PROGRAM, "sendmail", "-C", gateway.etc, "-f", sender, recipient]
    return subprocess.run(words, input="Subject: x\n\nbody\n", text=True, timeout=60, capture_output=True).returncode


def code(gateway: Gateway, recipient: str) -> int:
    try:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
            client.sendmail("a@home.example", [recipient], "Subject: x\r\n\r\nbody\r\n")
    except smtplib.SMTPRecipientsRefused as error:
        ((answer, _),) = error.recipients.values()
        return answer
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    return 250


def said(gateway: Gateway, words: str) -> Callable[[], bool]:
    before = gateway.log().count(words)
    return lambda: gateway.log().count(words) > before


def test_virtual_aliases(tmp_path: Path) -> None:
    """Who comes by SMTP hears 4xx; what a local user hands in waits in maildrop, or he hears that it was not taken; the
    report of a failure that can't be prepared is made later, once."""
    table = Index(tmp_path / "virtual", "team@sink.example ok@sink.example\nboss@home.example chief@sink.example\n")
    sink = Sink(refuse=lambda line: "550 5.1.1 no" if line.startswith("RCPT") and "<no@" in line else None)
    with running(Gateway(tmp_path, sink.port, virtual_alias_maps=table.name, **SOON)) as gateway:
        assert code(gateway, "team@sink.example") == 250
        until(lambda: len(sink.messages) == 1)
        table.break_down()
        until(lambda: code(gateway, "team@sink.example") in (451, 250) and "virtual.lmdb" in gateway.log())
        until(lambda: all(code(gateway, "team@sink.example") == 451 for _ in range(6)))
        assert submit(gateway, "team@sink.example") in (69, 75)
        table.mend()
        until(lambda: all(code(gateway, "team@sink.example") == 250 for _ in range(6)))
        until(lambda: gateway.log().count("status=sent") == gateway.log().count(" client="))
    sink.close()


def test_a_report_that_can_not_be_prepared(tmp_path: Path) -> None:
    table = Index(tmp_path / "virtual", "boss@home.example chief@sink.example\n")
    gates = [False]

    def answer(line: str) -> str | None:
        if line.startswith("RCPT") and "<no@" in line:
            return "550 5.1.1 no" if gates[0] else "450 4.2.0 later"
        return None

    sink = Sink(refuse=answer)
    settings = {"virtual_alias_maps": table.name, "virtual_alias_domains": "", **SOON}
    with running(Gateway(tmp_path, sink.port, **settings)) as gateway:
        for _ in range(3):
            assert submit(gateway, "no@sink.example", "boss@home.example") == 0
        until(lambda: gateway.log().count("status=deferred (host") >= 3)
        table.break_down()
        until(said(gateway, "virtual.lmdb"))
        gates[0] = True
        until(lambda: gateway.log().count("status=bounced") >= 3)
        until(said(gateway, "status=bounced"))
        assert not [message for message in sink.messages if message[1]]
        assert ": removed" not in gateway.log()
        table.mend()
        until(lambda: gateway.log().count(": removed") == 6, 60, gateway.log()[-3000:])
        reports = [message for message in sink.messages if message[1]]
        assert [message[:2] for message in reports] == [("", ["chief@sink.example"])] * 3
        assert all(content.count(b"Final-Recipient: rfc822; no@sink.example") == 1 for _, _, content in reports)
    sink.close()


@pytest.mark.parametrize("parameter", ["alias_maps", "transport_maps"])
def test_tables_of_local_delivery_and_of_routing(tmp_path: Path, parameter: str) -> None:
    sink = Sink()
    recipient = "team@mx.example.com"
    if parameter == "alias_maps":
        table = Index(tmp_path / "aliases", "team: ok@sink.example\n", "postalias")
        route = f"inline:{{sink.example=smtp:[127.0.0.1]:{sink.port}}}"
        settings = {"alias_maps": table.name, "transport_maps": route}
    else:
        table = Index(tmp_path / "transport", f"mx.example.com smtp:[127.0.0.1]:{sink.port}\n")
        settings = {"transport_maps": table.name}
    with running(Gateway(tmp_path, sink.port, local_recipient_maps="", **settings, **SOON)) as gateway:
        taken = 0

        def another() -> None:
            nonlocal taken
            assert submit(gateway, recipient) == 0
            taken += 1

        another()
        until(lambda: len(sink.messages) == 1)
        table.break_down()

        def put_off() -> bool:
            another()
            return len(set(re.findall(r": (\w+): to=<.*status=deferred", gateway.log()))) >= 4

        until(put_off, said="four of those that came after it was noticed wait")
        assert len(sink.messages) <= taken - 4
        until(lambda: table.path.name in gateway.log())
        table.mend()
        until(lambda: len(sink.messages) == taken)
        assert "status=bounced" not in gateway.log()
    assert len(sink.messages) == taken
    sink.close()
