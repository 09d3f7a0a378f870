import asyncio
import gc
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.ports import free_port

from postwarden.config.errors import ConfigError, Problem
from postwarden.ipc.channel import Channel
from postwarden.ipc.records import Drain, FromDeliverer, Job, Link, Outcome, Ready, Start, ToMaster
from postwarden.mail.envelope import Recipient
from postwarden.roles.carrier import Carrier, client_tls
from postwarden.roles.life import Life
from postwarden.testing.certificate import write_certificate
from postwarden.testing.config import settings

MASTER_CF = """\
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
safe unix - - n - - smtp
  -o smtp_tls_security_level=encrypt
"""


def job(number: int, transport: str, nexthop: str, body: bytes | None = b"body\r\n") -> Job:
    recipients = (Recipient("c@d.example"), Recipient("e@d.example"))
    return Job(number, transport, nexthop, "ABC", 1.0, 2.0, "a@b.example", recipients, 20, b"Subject: x\r\n\r\n", body)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.001)


def play(tmp_path: Path, *jobs: tuple[Job, list[int]]) -> tuple[int, dict[int, Outcome]]:
    """The exit code of a carrier that is given jobs and then drained, and its outcomes."""

    async def run() -> tuple[int, dict[int, Outcome]]:
        ours, theirs = socket.socketpair()
        here, there = socket.socketpair()
        said: list[ToMaster] = []
        found: dict[int, Outcome] = {}

        def heard(record: FromDeliverer, _: list[int]) -> None:
            assert isinstance(record, Outcome)
            found[record.job_id] = record

        control: Channel[ToMaster] = Channel(ours, ToMaster, lambda r, _: said.append(r), lambda _: None)
        work: Channel[FromDeliverer] = Channel(here, FromDeliverer, heard, lambda _: None)
        life = asyncio.create_task(Life(theirs).live(Carrier))
        log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        packed = msgspec.msgpack.encode(settings(master_cf_text=MASTER_CF))
        control.send(Start("carrier", 0, 0, packed, "", (), "fd"), [log])
        control.send(Link("courier", 0, 0), [there.detach()])
        await until(lambda: said)
        assert said == [Ready()]
        for one, fds in jobs:
            work.send(one, fds)
        control.send(Drain())
        async with asyncio.timeout(30):
            code = await life
        control.close()
        await until(lambda: len(found) == len(jobs))
        work.close()
        return code, found

    try:
        return asyncio.run(run())
    finally:
        gc.unfreeze()


@pytest.fixture
def closed_port() -> int:
    return free_port()


def test_a_transport_that_master_cf_does_not_have_is_put_off(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "body", os.O_RDWR | os.O_CREAT)
    code, found = play(tmp_path, (job(7, "uucp", "d.example", None), [fd]))
    assert code == 0
    assert [(s.code, s.text) for s in found[7].results] == [("4.3.0", "mail transport unavailable: uucp")] * 2
    assert found[7].destination_fault is not None


def test_jobs_on_their_way_to_a_drained_carrier_are_done(tmp_path: Path, closed_port: int) -> None:
    where = f"[127.0.0.1]:{closed_port}"
    code, found = play(tmp_path, (job(1, "smtp", where), []), (job(2, "lmtp", f"inet:{where}"), []))
    assert code == 0
    for outcome in found.values():
        assert [s.code for s in outcome.results] == ["4.4.1", "4.4.1"]
        assert outcome.results[0].text == f"connect to 127.0.0.1[127.0.0.1]:{closed_port}: Connection refused"
        assert outcome.destination_fault is not None


def test_tls_is_only_where_it_is_wanted() -> None:
    found = settings(master_cf_text=MASTER_CF)
    faults: list[Problem] = []
    assert client_tls(found, "smtp/unix", {}, faults.append) is None
    assert client_tls(found, "safe/unix", {}, faults.append) is not None
    assert client_tls(settings(smtp_tls_security_level="may"), "", {}, faults.append) is not None
    assert client_tls(settings(smtp_use_tls="yes"), "", {}, faults.append) is not None
    assert client_tls(settings(smtp_tls_security_level="none", smtp_use_tls="no"), "", {}, faults.append) is None
    assert faults == []


@pytest.mark.parametrize("level", ["dane-only", "nonsense"])
def test_a_level_that_is_not_there_is_refused_and_never_less(level: str) -> None:
    with pytest.raises(ConfigError, match=rf"main\.cf:1: .*smtp_tls_security_level = {level}"):
        client_tls(settings(f"smtp_tls_security_level = {level}\n"), "", {}, print)


def test_a_key_that_only_root_reads_comes_from_where_it_was_handed(tmp_path: Path) -> None:
    write_certificate(tmp_path / "handed", "mx.example.com")
    found = settings(smtp_tls_security_level="may", smtp_tls_cert_file="/etc/ssl/private/key.pem")
    assert client_tls(found, "", {"/etc/ssl/private/key.pem": str(tmp_path / "handed")}, print) is not None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cert_file", "TLS client: /nowhere.pem: No such file or directory: disabling TLS support"),
        ("chain_files", "TLS certificate: /nowhere.pem: No such file or directory: disabling TLS support"),
    ],
)
def test_a_certificate_that_is_not_there_leaves_mail_without_tls(name: str, text: str) -> None:
    faults: list[Problem] = []
    parameters = {f"smtp_tls_{name}": "/nowhere.pem", "smtp_tls_security_level": "may"}
    assert client_tls(settings(**parameters), "", {}, faults.append) is None
    assert [(fault.severity, fault.text) for fault in faults] == [("warning", text)]


def test_each_job_is_answered_where_it_came_from(tmp_path: Path) -> None:
    """Who asks for a channel to the courier while one is on its way has two."""

    async def run() -> list[list[int]]:
        ours, theirs = socket.socketpair()
        said: list[ToMaster] = []
        answers: list[list[int]] = [[], []]
        control: Channel[ToMaster] = Channel(ours, ToMaster, lambda r, _: said.append(r), lambda _: None)
        life = asyncio.create_task(Life(theirs).live(Carrier))
        log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        packed = msgspec.msgpack.encode(settings(master_cf_text=MASTER_CF))
        control.send(Start("carrier", 0, 0, packed, "", (), "fd"), [log])
        work: list[Channel[Outcome]] = []
        for heard in answers:
            here, there = socket.socketpair()
            control.send(Link("courier", 0, 0), [there.detach()])
            work.append(Channel(here, Outcome, lambda r, _, heard=heard: heard.append(r.job_id), lambda _: None))
        await until(lambda: said)
        for number, channel in enumerate((*work, work[0])):
            channel.send(job(number, "uucp", "d.example"), [])
        await until(lambda: sum(map(len, answers)) == 3)
        control.send(Drain())
        async with asyncio.timeout(30):
            await life
        for channel in (control, *work):
            channel.close()
        return answers

    try:
        assert asyncio.run(run()) == [[0, 2], [1]]
    finally:
        gc.unfreeze()
