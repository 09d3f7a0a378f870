"""The socket of local users, over real ones: who is there, and what is done when there is no descriptor left."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from postwarden.receive.submit_service import SubmitService
from postwarden.roles import local_door
from postwarden.roles.listeners import SUBMIT, bind, submission
from postwarden.roles.local_door import LocalDoor
from postwarden.testing.clock import VirtualClock
from postwarden.testing.config import settings
from postwarden.wire.submission import GREETING


class Service:
    """As much of a SubmitService as a session needs to be greeted."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.peers: list[int] = []

    def enter(self, session: Any) -> None:
        self.peers.append(session.peer)
        session.admitted()

    def leave(self, session: Any) -> None:
        return


def listening(base: Path) -> tuple[socket.socket, str]:
    (base / "postwarden" / "public").mkdir(parents=True, exist_ok=True)
    listener = submission(settings(queue_directory=str(base)))
    assert listener.service == SUBMIT
    return bind(listener), listener.address


async def greeted(path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    said = await reader.readexactly(len(GREETING))
    writer.close()
    return said


def test_the_kernel_says_who_connects(tmp_path: Path) -> None:
    service = Service()

    async def live() -> None:
        sock, path = listening(tmp_path)
        door = LocalDoor(sock, cast(SubmitService, service), asyncio.get_running_loop())
        assert await greeted(path) == GREETING
        door.close()
        door.close()
        with pytest.raises(OSError):
            await greeted(path)

    asyncio.run(live())
    assert service.peers == [os.getuid()]


def test_without_a_descriptor_who_waits_goes_on_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_door, "_PAUSE", 0.01)

    class Poor:
        """A socket whose first two connections can't be had."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock
            self.faults = 2

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def accept(self) -> Any:
            if self.faults:
                self.faults -= 1
                raise OSError(24, "Too many open files")
            return self._sock.accept()

    async def live() -> None:
        sock, path = listening(tmp_path)
        poor = Poor(sock)
        door = LocalDoor(cast(socket.socket, poor), cast(SubmitService, Service()), asyncio.get_running_loop())
        assert await greeted(path) == GREETING
        assert poor.faults == 0
        door.close()

    asyncio.run(live())


def test_the_socket_is_open_to_all_and_made_anew(tmp_path: Path) -> None:
    for _ in range(2):
        sock, path = listening(tmp_path)
        assert Path(path).is_socket()
        assert os.stat(path).st_mode & 0o777 == 0o666
        sock.close()


def test_a_path_that_is_too_long_for_an_address(tmp_path: Path) -> None:
    base = tmp_path / ("x" * 120)
    sock, path = listening(base)
    assert Path(path).is_socket()
    sock.close()


def test_no_link_leads_root_astray(tmp_path: Path) -> None:
    """The directory is the roles': one of them may be an intruder's."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "submit").write_text("precious")
    spool = tmp_path / "postwarden"
    spool.mkdir()
    (spool / "public").symlink_to(other)
    with pytest.raises(OSError, match=r"bind .*/public/submit: "):
        bind(submission(settings(queue_directory=str(tmp_path))))
    assert (other / "submit").read_text() == "precious"
