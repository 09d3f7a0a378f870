import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from postwarden.ipc.records import Link, Ready, Refused, Start, ToMaster
from postwarden.roles.children import Child, Phase, environment
from postwarden.testing.config import settings

MASTER_CF = "smtp unix - - n - - smtp\n"


def started(tmp_path: Path, heard: Callable[[Child, ToMaster], None], **parameters: str) -> Child:
    """A real carrier, which needs the least."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    packed = msgspec.msgpack.encode(settings(master_cf_text=MASTER_CF, **parameters))
    return Child(Start("carrier", 3, 1, packed, "", (), "fd"), [log], heard)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not what():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.002)


async def end(child: Child) -> int:
    """Its exit code, or minus the signal."""
    ended: list[int] = []

    def over() -> bool:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(pid)

    await until(over)
    child.gone()
    return ended[0]


def test_a_child_gets_ready_and_drains(tmp_path: Path) -> None:
    async def run() -> int:
        heard: list[ToMaster] = []
        child = started(tmp_path, lambda _, record: heard.append(record))
        assert (child.role, child.instance, child.generation, child.phase) == ("carrier", 3, 1, Phase.STARTING)
        here, there = socket.socketpair()
        child.send(Link("courier", 0, 0), [there.detach()])
        await until(lambda: heard)
        assert heard == [Ready()]
        child.drain()
        assert child.phase is Phase.DRAINING
        code = await end(child)
        here.close()
        return code

    assert asyncio.run(run()) == 0


def test_a_child_says_why_it_can_not_live(tmp_path: Path) -> None:
    async def run() -> tuple[int, list[ToMaster]]:
        heard: list[ToMaster] = []
        child = started(tmp_path, lambda _, record: heard.append(record), smtp_tls_security_level="dane-only")
        return await end(child), heard

    code, heard = asyncio.run(run())
    assert code == 78
    assert len(heard) == 1 and isinstance(heard[0], Refused)
    assert heard[0].reason.startswith("/etc/postfix/main.cf:") and "dane" in heard[0].reason


def test_a_child_can_be_killed(tmp_path: Path) -> None:
    async def run() -> int:
        child = started(tmp_path, lambda *_: None)
        child.kill()
        return await end(child)

    assert asyncio.run(run()) == -signal.SIGKILL


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "PYTHONPATH", "SSL_CERT_FILE", "MAIL_DEBUG"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("MAIL_CONFIG", "/etc/postfix-out")
    monkeypatch.setenv("TZ", "UTC")
    found = environment()
    assert set(found) <= {"PATH", "TZ", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "MAIL_CONFIG"}
    assert found["MAIL_CONFIG"] == "/etc/postfix-out" and found["TZ"] == "UTC"
