import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.ports import free_port

from postwarden.cli.checking import ports
from postwarden.config.system import System
from postwarden.roles import lock
from postwarden.testing.config import settings


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def said(main_cf: str, master_cf: str, queue: Path) -> list[tuple[str, str, int, str]]:
    chosen = settings(f"{main_cf}queue_directory = {queue}\n", master_cf)
    chosen = replace(chosen, system=System("mx.example.com", ("127.0.0.1/8", "192.0.2.1/24")))
    found = ports.findings(chosen)
    return [(f.severity, f.origin.file.rpartition("/")[2], f.origin.line, f.what) for f in found]


def test_a_free_port(tmp_path: Path) -> None:
    assert said("inet_protocols = ipv4\n", f"{free_port()} inet n - n - - smtpd\n", tmp_path) == []


def test_a_port_that_somebody_has_names_him(tmp_path: Path, taken: int) -> None:
    ((severity, file, line, what),) = said("", f"127.0.0.1:{taken} inet n - n - - smtpd\n", tmp_path)
    assert (severity, file, line) == ("error", "master.cf", 1)
    assert what.startswith(f"port {taken} of 127.0.0.1 is taken by ") and f"(process {os.getpid()})" in what


def test_one_address_of_a_port_collides_with_all(tmp_path: Path, taken: int) -> None:
    found = said("inet_interfaces = all\ninet_protocols = ipv4\n", f"{taken} inet n - n - - smtpd\n", tmp_path)
    assert [what.partition(" is ")[0] for *_, what in found] == [f"port {taken} of 0.0.0.0"]
    assert said("", f"[192.0.2.1]:{taken} inet n - n - - smtpd\n", tmp_path) == []


def test_our_own_running_system_is_nobody_else(tmp_path: Path, taken: int) -> None:
    held = lock.hold(lock.pid_file(str(tmp_path)))  # we are the master, and have the socket
    try:
        assert said("", f"127.0.0.1:{taken} inet n - n - - smtpd\n", tmp_path) == []
    finally:
        os.close(held)


def test_an_address_that_this_machine_does_not_have(tmp_path: Path) -> None:
    found = said("inet_interfaces = 192.0.2.99\n", "25 inet n - n - - smtpd\n", tmp_path)
    assert found == [("error", "main.cf", 1, "this machine does not have the address 192.0.2.99")]
    found = said("", "192.0.2.99:25 inet n - n - - smtpd\n", tmp_path)
    assert found == [("error", "master.cf", 1, "this machine does not have the address 192.0.2.99")]


def test_two_listeners_on_one_port(tmp_path: Path) -> None:
    two = "127.0.0.1:2525 inet n - n - - smtpd\n[127.0.0.1]:2525 inet n - n - - smtpd\n"
    ((severity, _, line, what),) = said("", two, tmp_path)
    assert (severity, line) == ("error", 2) and "is already that of /etc/postfix/master.cf:1" in what


def test_an_unknown_port_name(tmp_path: Path) -> None:
    ((severity, _, line, what),) = said("", "no-such-port inet n - n - - smtpd\n", tmp_path)
    assert (severity, line) == ("error", 1) and "no-such-port" in what


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("::1", "::", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_which_addresses_collide(tmp_path: Path, one: str, other: str, collide: bool) -> None:
    """As the kernel shows sockets in /proc/net/tcp: bytes in the order of a little-endian machine."""
    (tmp_path / "net").mkdir()
    name = "tcp6" if ":" in one else "tcp"
    packed = socket.inet_pton(socket.AF_INET6 if ":" in one else socket.AF_INET, one)
    shown = b"".join(packed[at : at + 4][::-1] for at in range(0, len(packed), 4)).hex().upper()
    line = (
        f"   0: {shown}:0019 {'0' * len(shown)}:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 x\n"
    )
    (tmp_path / "net" / name).write_text("  sl  local_address ...\n" + line)
    chosen = settings(f"queue_directory = {tmp_path}\ninet_protocols = all\n", f"[{other}]:25 inet n - n - - smtpd\n")
    everything = System("mx.example.com", ("127.0.0.1/8", "127.0.0.2/8", "::1/128", "0.0.0.0/0", "::/0"))
    found = list(ports.findings(replace(chosen, system=everything), str(tmp_path)))
    assert [f.what for f in found] == ([f"port 25 of {other} is taken by another program"] if collide else [])
