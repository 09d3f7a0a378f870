import os
import pwd
import socket
from pathlib import Path

import pytest

from postwarden.ipc import local_socket
from postwarden.ipc.local_socket import connect, login_name, peer_uid


def test_names_of_users() -> None:
    assert login_name(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert login_name(4_000_000) == ""
    assert login_name(1 << 40) == ""


def test_peer() -> None:
    ours, theirs = socket.socketpair()
    assert peer_uid(ours) == os.getuid()
    ours.close()
    theirs.close()


def test_no_uid_is_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    """-1 and below mean nobody; 4294967294 is somebody."""
    assert local_socket._CREDENTIALS.unpack(b"\1\0\0\0\xfe\xff\xff\xff\0\0\0\0")[1] == 0xFFFFFFFE


@pytest.mark.parametrize("name", ["short", "long" * 25])
def test_a_path_of_any_length(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    above = os.open(directory, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(f"/proc/self/fd/{above}/socket")
        server.listen()
        connect(client, str(directory / "socket"))
    os.close(above)
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
        connect(client, str(tmp_path / "none" / name / "socket"))
