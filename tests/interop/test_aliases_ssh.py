"""Alias files over real OpenSSH: three sshd on loopback, two that are asked and the gateway's own that is sent to."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import until

SSHD = "/usr/sbin/sshd"
PROGRAM = Path(sys.executable).parent / "postwarden"
ME = pwd.getpwuid(os.geteuid()).pw_name

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(SSHD), reason="apt-get install openssh-server"),
]


def new_key(path: Path) -> str:
    """The public key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


class Sshd:
    """A server of its own directory, which lets `ME` in by the keys of `authorized`."""

    def __init__(self, base: Path, name: str) -> None:
        self.directory = base / name
        self.directory.mkdir()
        self.port = free_port()
        self.host_key = new_key(self.directory / "host")
        self.authorized = self.directory / "authorized_keys"
        self.authorized.touch()
        (self.directory / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.directory}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.authorized}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # where sshd shuts in what it has not let in yet
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", self.directory / "config"], stderr=log)
        until(self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            return sock.recv(4) == b"SSH-"
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


class Site:
    """The gateway's configuration, and the three servers: `sales` and `plant` are asked, `gateway` is sent to."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.etc = base / "etc"
        self.etc.mkdir()
        self.sales, self.plant, self.gateway = (Sshd(base, name) for name in ("sales", "plant", "gateway"))
        self.key = base / "key"
        public = new_key(self.key)
        for server in (self.sales, self.plant):
            server.authorized.write_text(f'restrict,command="internal-sftp -R" {public}\n')
        (base / "land").mkdir()
        self.lab_key, self.shop_key = base / "lab_key", base / "shop_key"
        lab, shop = new_key(self.lab_key), new_key(self.shop_key)
        put = f"{PROGRAM} -c {self.etc} aliases put lab"
        self.gateway.authorized.write_text(
            f'restrict,command="{put}" {lab}\nrestrict,command="internal-sftp -d {base}/land" {shop}\n'
        )
        (self.etc / "main.cf").write_text(
            "compatibility_level = 3.6\nmyhostname = mx.example.com\nmydestination = mx.example.com, example.com\n"
            f"alias_maps = hash:{self.etc}/aliases.merged\n"
            "relay_domains = sales.example plant.example lab.example shop.example\n"
        )
        self.write_sources()
        self.file("sales", "sales: joe@sales.example\n" + "".join(f"sales-{n}: sales\n" for n in range(10)))
        self.file("plant", "plant: ann@plant.example\n")

    def write_sources(self, **changes: str) -> None:
        lines = {"sources": "sales plant lab shop", "pull_timeout": "5"}
        for server in (self.sales, self.plant):
            name = server.directory.name
            lines |= {
                f"{name}.pull": f"sftp://{ME}@127.0.0.1:{server.port}{server.directory}/aliases",
                f"{name}.key": str(self.key),
                f"{name}.host_key": server.host_key,
            }
        for name in ("lab", "shop"):
            lines[f"{name}.push"] = f"{self.base}/land/{name}"
        for name in ("sales", "plant", "lab", "shop"):
            lines |= {f"{name}.names": f"{name}, {name}-*, staff", f"{name}.hosts": f"{name}.example"}
        lines |= {name.replace("__", "."): value for name, value in changes.items()}
        (self.etc / "alias-sources.cf").write_text("".join(f"{name} = {value}\n" for name, value in lines.items()))

    def file(self, source: str, text: str) -> None:
        (self.base / source / "aliases").write_text(text)

    def aliases(self, *words: str, code: int = 0) -> str:
        done = subprocess.run([PROGRAM, "-c", self.etc, "aliases", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def ask(self, name: str) -> str:
        table = f"hash:{self.etc}/aliases.merged"
        done = subprocess.run(
            [PROGRAM, "postalias", "-c", self.etc, "-q", name, table], capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    def ssh(self, *words: str, key: Path, program: str = "ssh", data: str = "") -> subprocess.CompletedProcess[str]:
        """As somebody far away, who knows the gateway's host key."""
        known = self.base / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.gateway.port} {self.gateway.host_key}\n")
        options = [
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            f"UserKnownHostsFile={known}",
            "-o",
            f"IdentityFile={key}",
        ]
        options += ["-o", "IdentitiesOnly=yes", "-o", f"Port={self.gateway.port}", "-o", "LogLevel=ERROR"]
        return subprocess.run([program, *options, *words], input=data, capture_output=True, text=True, timeout=60)

    def settle(self) -> None:
        for path in (self.base / "land").iterdir():
            os.utime(path, (time.time() - 10, time.time() - 10))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("ssh")
    base.chmod(0o755)
    site = Site(base)
    servers = (site.sales, site.plant, site.gateway)
    try:
        for server in servers:
            server.start()
        yield site
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def site(running: Site) -> Site:
    """With all servers at work, and nothing merged yet."""
    for path in (running.etc / "alias-sources", running.base / "land"):
        shutil.rmtree(path, ignore_errors=True)
    (running.base / "land").mkdir()
    for path in running.etc.glob("aliases.merged*"):
        path.unlink()
    running.write_sources()
    running.file("sales", "sales: joe@sales.example\n" + "".join(f"sales-{n}: sales\n" for n in range(10)))
    running.file("plant", "plant: ann@plant.example\n")
    return running


def test_pulls_and_pushes_become_one_table(site: Site) -> None:
    done = site.ssh(f"{ME}@127.0.0.1", key=site.lab_key, data="lab: bob@lab.example\n")
    assert (done.returncode, done.stderr) == (0, "lab: 1 entries taken; the next merge judges them\n")
    upload = site.base / "upload"
    upload.write_text("shop: eve@shop.example\n")
    done = site.ssh(str(upload), f"{ME}@127.0.0.1:shop", key=site.shop_key, program="scp")
    assert done.returncode == 0, done.stderr
    site.settle()
    site.aliases("merge")
    assert [site.ask(name) for name in ("sales", "plant", "lab", "shop")] == [
        "joe@sales.example", "ann@plant.example", "bob@lab.example", "eve@shop.example",
    ]  # fmt: skip
    assert "from 127.0.0.1" in site.aliases("history", "lab")
    assert site.aliases("status").count("current") == 4


def test_a_forced_command_can_do_nothing_else(site: Site) -> None:
    done = site.ssh(f"{ME}@127.0.0.1", "cat", "/etc/passwd", key=site.lab_key, data="lab: bob@lab.example\n")
    assert "root:" not in done.stdout
    assert (site.base / "land" / "lab").read_text() == "lab: bob@lab.example\n"
    done = site.ssh(f"{ME}@127.0.0.1", "x", key=site.lab_key, data="lab: bob@lab.exa")
    assert done.returncode == 1
    assert "ends within a line" in done.stderr
    assert (site.base / "land" / "lab").read_text() == "lab: bob@lab.example\n", "the last whole file stays"


def test_an_intruder_and_a_conflict(site: Site) -> None:
    site.file(
        "plant",
        "plant: ann@plant.example\nroot: evil@plant.example\npostmaster: |/bin/sh\nplant-x: x@evil.example\n"
        "sales: ann\nstaff: ann@plant.example\n",
    )
    site.file("sales", "sales: joe@sales.example\nstaff: joe@sales.example\n")
    text = site.aliases("merge", code=2)
    file = f"plant:{site.plant.directory}/aliases"
    for line, name in ((2, "root"), (3, "postmaster"), (4, "plant-x"), (5, "sales")):
        assert f"{file}:{line}: error: left out: {name}: " in text
    assert f"{file}:6: error: conflict: staff: sales is named first, at sales:{site.sales.directory}/aliases:2" in text
    assert [site.ask(name) for name in ("root", "postmaster", "plant-x", "staff", "plant")] == [
        "", "", "", "joe@sales.example", "ann@plant.example",
    ]  # fmt: skip


def test_a_file_that_was_cut_off_is_not_taken_and_a_short_one_is_held(site: Site) -> None:
    site.aliases("merge", code=2)  # lab and shop have not come yet
    site.file("sales", "sales: joe@sales.example\nsales-0: sal")
    site.file("plant", "plant: ann@plant.example\nplant-new: ann@plant.example\n")
    text = site.aliases("merge", code=2)
    assert "sales/aliases:2: the file ends within a line" in text
    assert (site.ask("sales-9"), site.ask("plant-new")) == ("sales", "ann@plant.example")
    site.file("sales", "sales: joe@sales.example\n")
    assert "10 of 11 names would go" in site.aliases("merge", code=2)
    assert site.ask("sales-9") == "sales"
    site.aliases("confirm", "-m", "they closed", "sales", code=2)
    assert site.ask("sales-9") == ""
    assert "confirmed" in site.aliases("history", "sales")


def test_a_rollback(site: Site) -> None:
    site.aliases("merge", code=2)
    site.file("plant", "plant: wrong@plant.example\n")
    site.aliases("merge", code=2)
    assert site.ask("plant") == "wrong@plant.example"
    site.aliases("rollback", "-m", "wrong", "plant", code=2)
    assert site.ask("plant") == "ann@plant.example"
    site.aliases("merge", code=2)
    assert site.ask("plant") == "ann@plant.example", "the same file does not come back by itself"
    assert "rolled back" in site.aliases("history")


@pytest.mark.long
def test_a_host_with_another_key_is_not_believed(site: Site) -> None:
    site.write_sources(sales__host_key=site.plant.host_key)
    text = site.aliases("merge", code=2)
    assert "source sales: " in text
    assert "Host key verification failed" in text
    assert (site.ask("sales"), site.ask("plant")) == ("", "ann@plant.example")


@pytest.mark.long
def test_a_key_that_is_not_let_in(site: Site) -> None:
    site.write_sources(sales__key=str(site.lab_key))
    assert "Permission denied" in site.aliases("merge", code=2)
    assert site.ask("plant") == "ann@plant.example"
    site.lab_key.chmod(0o644)
    try:
        assert "others can read it" in site.aliases("merge", code=2)
    finally:
        site.lab_key.chmod(0o600)


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_client_runs_as_the_owner_of_its_key(site: Site) -> None:
    owner = pwd.getpwnam("mail")
    os.chown(site.key, owner.pw_uid, owner.pw_gid)
    try:
        text = site.aliases("merge", code=2)
    finally:
        os.chown(site.key, 0, 0)
    assert "source sales" not in text
    assert site.ask("plant") == "ann@plant.example"


@pytest.mark.long
def test_a_server_that_is_down_and_a_file_that_is_gone(site: Site) -> None:
    site.aliases("merge", code=2)
    site.sales.stop()
    (site.plant.directory / "aliases").unlink()
    try:
        text = site.aliases("merge", code=2)
    finally:
        site.sales.start()
    assert "Connection refused" in text
    assert "held: the file has disappeared" in text
    assert (site.ask("sales"), site.ask("plant")) == ("joe@sales.example", "ann@plant.example")
    assert "sales" in site.aliases("status", code=2)


@pytest.mark.long
def test_a_server_that_hangs_delays_nobody_and_a_file_without_end_is_cut_off(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        path = site.plant.directory / "aliases"
        site.write_sources(
            sales__pull=f"sftp://{ME}@127.0.0.1:{mute.getsockname()[1]}/aliases", pull_timeout="2", size_limit="100000"
        )
        path.unlink()
        path.write_bytes(b"plant: ann\n" * 100_000)
        begun = time.monotonic()
        text = site.aliases("merge", code=2)
    assert time.monotonic() - begun < 20
    assert "larger than 100000 bytes" in text
    assert "source sales: " in text
