"""Tables and certificates that are broken at start, at reload and while the gateway runs."""

import os
import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.whole import Gateway, Sink, running, until

pytestmark = pytest.mark.slow


def answer(gateway: Gateway, recipient: str, sender: str = "a@client.example") -> tuple[int, str]:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.ehlo("client.example")
        client.mail(sender)
        code, text = client.rcpt(recipient)
        return code, text.decode()


def write(path: Path, text: str) -> None:
    """As editors do: a new file in the place of the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o644)
    os.replace(new, path)


def answers(gateway: Gateway, recipient: str, text: str) -> Callable[[], bool]:
    """Each receiver looks for itself: 12 sessions meet all of them."""
    return lambda: all(text in answer(gateway, recipient)[1] for _ in range(12))


GOOD = "/^refused@/ REJECT first text\n"
BROKEN = "/^fine@/ OK\n/^(unclosed@/ REJECT\n"
MENDED = "/^refused@/ REJECT second text\n"


def test_a_table_that_breaks_while_it_is_in_use(tmp_path: Path) -> None:
    table = tmp_path / "access.regexp"
    write(table, GOOD)
    settings = {"smtpd_recipient_restrictions": f"check_recipient_access regexp:{table}, reject_unauth_destination"}
    with running(Gateway(tmp_path, **settings)) as gateway:
        assert "first text" in answer(gateway, "refused@mx.example.com")[1]
        write(table, BROKEN)
        receivers = len(gateway.pids("receiver"))
        until(lambda: gateway.log().count(f"{table}:2: ") == receivers, 60, gateway.log())
        assert answers(gateway, "refused@mx.example.com", "first text")(), "the old text stays in effect"
        write(table, MENDED)
        until(answers(gateway, "refused@mx.example.com", "second text"))
        assert gateway.log().count(f"{table}:2: ") == receivers, "said once"
        table.unlink()
        until(lambda: "access.regexp" in gateway.log().rpartition(f"{table}:2: ")[2], 60, "its loss is said")
        assert answers(gateway, "refused@mx.example.com", "second text")()
        write(table, GOOD)
        until(answers(gateway, "refused@mx.example.com", "first text"))


def test_a_table_that_is_broken_keeps_its_text_and_lets_the_next_start_go_on(tmp_path: Path) -> None:
    table = tmp_path / "access.cidr"
    write(table, "127.0.0.0/8 REJECT first text\n")
    gateway = Gateway(tmp_path, smtpd_client_restrictions=f"check_client_access cidr:{table}")
    with running(gateway):
        assert "first text" in answer(gateway, "r@mx.example.com")[1]
        write(table, "127.0.0.0/8 REJECT second text\nnonsense here\n")
        until(lambda: f"{table}:2: " in gateway.log())
        assert "first text" in answer(gateway, "r@mx.example.com")[1]
    started = gateway.command("start")
    try:
        assert f"warning: {table}:2: " in started.stderr, started.stderr
        assert "second text" in answer(gateway, "r@mx.example.com")[1]
    finally:
        gateway.stop()


def test_each_stage_sees_a_changed_table(tmp_path: Path) -> None:
    """transport_maps and virtual_alias_maps in receiver and courier, aliases in the agent."""
    sinks = Sink(), Sink()
    table, virtual = tmp_path / "transport", tmp_path / "virtual"
    write(table, f"sink.example smtp:[127.0.0.1]:{sinks[0].port}\n")
    write(virtual, "info@mx.example.com one@sink.example\n")
    settings = {"transport_maps": f"texthash:{table}", "virtual_alias_maps": f"texthash:{virtual}"}
    with running(Gateway(tmp_path, **settings)) as gateway:

        def send() -> bool:
            with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
                client.sendmail("a@client.example", ["info@mx.example.com"], "Subject: x\r\n\r\nbody\r\n")
            return bool(sinks[1].messages) and sinks[1].messages[-1][1] == ["two@sink.example"]

        send()
        until(lambda: len(sinks[0].messages) == 1)
        assert sinks[0].messages[0][1] == ["one@sink.example"]
        write(table, f"sink.example smtp:[127.0.0.1]:{sinks[1].port}\n")
        write(virtual, "info@mx.example.com two@sink.example\n")
        until(send)
    for sink in sinks:
        sink.close()


def test_a_table_that_may_not_be_read_keeps_its_text_until_it_may(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    table = tmp_path / "relay"
    write(table, "known@sink.example x\n")
    with running(Gateway(tmp_path, relay_recipient_maps=f"texthash:{table}")) as gateway:
        assert answer(gateway, "known@sink.example")[0] == 250
        assert answer(gateway, "unknown@sink.example")[0] == 550
        new = tmp_path / "new"
        new.write_text(table.read_text() + "other@sink.example x\n")
        new.chmod(0)
        os.replace(new, table)
        until(lambda: f"{table}" in gateway.log(), 60, gateway.log())
        assert answer(gateway, "known@sink.example")[0] == 250, "the old text stays"
        assert answer(gateway, "other@sink.example")[0] == 550
        table.chmod(0o644)
        until(answers(gateway, "other@sink.example", "2.1.5 Ok"))
