"""Roles that lost their channel to the courier, though the courier lives: they ask for another."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import msgspec
import pytest

from postwarden.config.settings import load
from postwarden.ipc.channel import Channel
from postwarden.ipc.records import FromDeliverer, Job, Link, Outcome, Ready, Start, ToMaster, Unlinked
from postwarden.mail.envelope import Recipient
from postwarden.receive.counters import Counters
from postwarden.roles.children import spawn

pytestmark = pytest.mark.slow
MASTER_CF = "smtp unix - - n - - smtp\nlocal unix - n n - - local\n"


@pytest.mark.parametrize("role", ["carrier", "agent"])
def test_a_new_channel_is_asked_for_and_used(tmp_path: Path, role: str) -> None:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\nmail_owner = mail\nalias_maps =\n")
    (tmp_path / "master.cf").write_text(MASTER_CF)
    settings = msgspec.msgpack.encode(load(str(tmp_path)))

    async def play() -> Outcome:
        heard: asyncio.Queue[object] = asyncio.Queue()
        pid, sock = spawn(role)
        try:
            control: Channel[ToMaster] = Channel(sock, ToMaster, lambda r, _: heard.put_nowait(r), lambda _: None)
            control.send(Start(role, 0, 0, settings, "", log_to="fd"), [os.open(os.devnull, os.O_WRONLY)])
            await said(heard, Ready)
            link(control, heard).close()
            await said(heard, Unlinked)
            channel = link(control, heard)
            channel.send(Job(7, "nowhere", "x", "ID", 1.0, 1.0, "", (Recipient("a@b"),), 1, b"\r\n", b"x"))
            outcome = await said(heard, Outcome)
            assert isinstance(outcome, Outcome)
            channel.close()
            control.close()
            return outcome
        finally:
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, pid, 0)

    assert asyncio.run(play()).results[0].text == "mail transport unavailable: nowhere"


def test_a_receiver_asks_too(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\nmail_owner = mail\nalias_maps =\n")
    (tmp_path / "master.cf").write_text(MASTER_CF)
    start = Start("receiver", 0, 0, msgspec.msgpack.encode(load(str(tmp_path))), "", log_to="fd")

    async def play() -> None:
        heard: asyncio.Queue[object] = asyncio.Queue()
        pid, sock = spawn("receiver")
        try:
            control: Channel[ToMaster] = Channel(sock, ToMaster, lambda r, _: heard.put_nowait(r), lambda _: None)
            control.send(start, [os.open(os.devnull, os.O_WRONLY), os.dup(Counters.create().fileno())])
            await said(heard, Ready)
            link(control, heard).close()
            await said(heard, Unlinked)
            control.close()
        finally:
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, pid, 0)

    asyncio.run(play())


def link(control: Channel[ToMaster], heard: "asyncio.Queue[object]") -> Channel[FromDeliverer]:
    ours, theirs = socket.socketpair()
    control.send(Link("courier", 0, 0), [theirs.detach()])
    return Channel(ours, FromDeliverer, lambda r, _: heard.put_nowait(r), lambda _: None)


async def said(heard: "asyncio.Queue[object]", kind: type) -> object:
    async with asyncio.timeout(20):
        while not isinstance(record := await heard.get(), kind):
            pass
        return record
