import asyncio
import gc
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.ipc.channel import Channel
from postwarden.ipc.records import (
    Drain,
    Flush,
    Handed,
    Link,
    Ready,
    Reconfigure,
    Refused,
    Report,
    Start,
    ToMaster,
)
from postwarden.mail.decision import Origin
from postwarden.roles.life import EX_CONFIG, Life
from postwarden.testing.config import settings

BAD = ConfigError(Origin("/etc/postfix/main.cf", 7, "x = y"), "it is not so")


class Fake:
    """A role that writes down what it is told, and drains at once."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.told: list[object] = []
        self.refuse = False
        self.stuck = False
        life.ready()

    def link(self, link: Link, sock: socket.socket) -> None:
        self.told.append(link.role)
        sock.close()

    def reconfigure(self, settings: Settings) -> None:
        if self.refuse:
            raise BAD
        self.told.append(settings.text("myhostname"))

    def drain(self, at_once: bool) -> None:
        self.told.append(("drain", at_once))
        if not self.stuck:
            self.life.finish()

    def flush(self) -> None:
        self.told.append("flush")

    def files_changed(self) -> None:
        self.told.append({path: Path(where).read_text() for path, where in self.life.files.items()})


class Master:
    """Our end: says things, and waits for what the role answers."""

    def __init__(self, tmp_path: Path) -> None:
        self.log = tmp_path / "log"
        ours, theirs = socket.socketpair()
        self.heard: list[ToMaster] = []
        self.built: Fake | None = None
        self.told: list[object] = []
        self.channel: Channel[ToMaster] = Channel(ours, ToMaster, lambda r, _: self.heard.append(r), lambda _: None)
        self.life = Life(theirs)

    def start(self, handed: tuple[str, ...] = (), fds: tuple[int, ...] = (), **parameters: str) -> None:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        packed = msgspec.msgpack.encode(settings(**parameters))
        self.channel.send(Start("carrier", 0, 0, packed, "", (), "fd", handed), [log, *fds])

    @property
    def role(self) -> "Fake":
        assert self.built is not None
        return self.built

    def build(self, life: Life) -> Fake:
        self.built = Fake(life)
        return self.built

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not what():  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.001)


def play(tmp_path: Path, story: Callable[[Master], Coroutine[Any, Any, None]]) -> tuple[int, Master]:
    """The exit code of a life that goes as `story` has it."""

    async def run() -> tuple[int, Master]:
        master = Master(tmp_path)
        life = asyncio.create_task(master.life.live(master.build))
        async with asyncio.timeout(30):
            await story(master)
            code = await life
        master.told = list(master.role.told)
        master.channel.close()
        return code, master

    try:
        return asyncio.run(run())
    finally:
        gc.unfreeze()


def test_what_is_said_before_the_role_is_built_waits_for_it(tmp_path: Path) -> None:
    async def story(master: Master) -> None:
        here, there = socket.socketpair()
        master.start()
        master.channel.send(Link("courier", 0, 0), [there.detach()])
        master.channel.send(Flush())
        master.channel.send(Drain())
        await master.until(lambda: master.life.over.done() and master.heard)
        here.close()

    code, master = play(tmp_path, story)
    assert code == 0
    assert master.told == ["courier", "flush", ("drain", False)]
    assert master.heard == [Ready()]


def test_a_role_that_refuses_its_configuration_ends_with_ex_config(tmp_path: Path) -> None:
    async def run() -> tuple[int, list[ToMaster]]:
        master = Master(tmp_path)
        master.start()

        def build(life: Life) -> Fake:
            raise BAD

        code = await master.life.live(build)
        await master.until(lambda: master.heard)
        master.channel.close()
        return code, master.heard

    code, heard = asyncio.run(run())
    assert code == EX_CONFIG
    assert heard == [Refused("/etc/postfix/main.cf:7: it is not so")]


def test_a_reload_is_answered_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    async def story(master: Master) -> None:
        master.start(myhostname="one.example")
        await master.until(lambda: master.built)
        send = master.channel.send
        send(Reconfigure(msgspec.msgpack.encode(settings(myhostname="two.example"))))
        await master.until(lambda: len(master.heard) == 2)
        master.role.refuse = True
        send(Reconfigure(msgspec.msgpack.encode(settings(myhostname="three.example"))))
        await master.until(lambda: len(master.heard) == 3)
        assert master.life.settings.text("myhostname") == "two.example"
        send(Drain(True))

    code, master = play(tmp_path, story)
    assert code == 0
    assert master.heard == [Ready(), Ready(), Refused("/etc/postfix/main.cf:7: it is not so")]
    assert master.told == ["two.example", ("drain", True)]


def memfd(text: str) -> int:
    fd = os.memfd_create("x")
    os.write(fd, text.encode())
    return fd


def test_a_renewed_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    async def story(master: Master) -> None:
        master.start(("/key", "/cert"), (memfd("key 1"), memfd("cert 1")))
        await master.until(lambda: master.built)
        old = master.life.files["/key"]
        master.channel.send(Handed(("/key",)), [memfd("key 2")])
        await master.until(lambda: master.role.told)
        assert not os.path.exists(old)  # noqa: ASYNC240 - no disk is asked
        master.channel.send(Drain())

    _, master = play(tmp_path, story)
    assert master.told[0] == {"/key": "key 2", "/cert": "cert 1"}


def test_a_role_goes_when_the_master_is_gone(tmp_path: Path) -> None:
    async def story(master: Master) -> None:
        master.start()
        await master.until(lambda: master.built)
        master.channel.close()

    code, master = play(tmp_path, story)
    assert code == 0 and master.told == [("drain", True)]


def test_a_stuck_role_goes_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postwarden.roles.life._LAST_SECONDS", 0.01)

    async def story(master: Master) -> None:
        master.start()
        await master.until(lambda: master.built)
        master.role.stuck = True
        master.channel.close()

    assert play(tmp_path, story)[0] == 1


def test_a_master_that_never_starts_it_ends_it(tmp_path: Path) -> None:
    async def run() -> None:
        master = Master(tmp_path)
        master.channel.close()
        with pytest.raises(asyncio.CancelledError):
            await master.life.live(master.build)

    asyncio.run(run())


def test_a_bug_is_logged_with_its_place_and_the_role_goes_on(tmp_path: Path) -> None:
    async def story(master: Master) -> None:
        master.start()
        await master.until(lambda: master.built)
        master.life.loop.call_soon(lambda: 1 // 0)
        await master.until(lambda: "internal error" in master.log.read_text())
        master.life.report({"sessions": 3})
        await master.until(lambda: len(master.heard) == 2)
        master.channel.send(Drain())

    code, master = play(tmp_path, story)
    assert code == 0 and master.heard[1] == Report({"sessions": 3})
    line = master.log.read_text()
    assert "/carrier[" in line and "error: internal error" in line
    assert "ZeroDivisionError" in line and "at test_life.py:" in line
