"""Debian's Postfix with just the daemons that judge: trivial-rewrite(8) asked over its socket, smtpd(8) over SMTP."""

import grp
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import pytest
from tests.ports import free_port
from tests.whole import until

missing = os.geteuid() != 0 or shutil.which("postfix") is None
needs_postfix = pytest.mark.skipif(missing, reason="needs root and Debian's postfix")

_MASTER_PROGRAM = "/usr/lib/postfix/sbin/master"
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
qmgr unix n - n 300 1 qmgr
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
smtp unix - - n - - smtp
local unix - n n - - local
"""
DEFAULTS = {
    "compatibility_level": "3.6",
    "myhostname": "mx.example.com",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "alias_maps": "",
    "defer_transports": "smtp local",
    "smtpd_authorized_xclient_hosts": "0.0.0.0/0",
}


class Judges:
    """A running Postfix with `settings` in its main.cf, in a directory that its user can enter, as pytest's are not."""

    def __init__(self, **settings: str) -> None:
        base = self._base = Path(tempfile.mkdtemp(prefix="judges-"))
        base.chmod(0o755)
        self.port = free_port()
        self._asking: socket.socket | None = None
        self.etc, self.queue, data = base / "etc", base / "queue", base / "data"
        self.log_file = base / "maillog"
        for directory in (self.etc, self.queue, data):
            directory.mkdir()
        os.chown(data, pwd.getpwnam("postfix").pw_uid, -1)
        for name in ("dynamicmaps.cf", "postfix-files", "postfix-files.d", "dynamicmaps.cf.d"):
            source = Path("/etc/postfix") / name
            if source.is_dir():
                shutil.copytree(source, self.etc / name)
            elif source.exists():
                shutil.copy(source, self.etc)
        (self.etc / "master.cf").write_text(_MASTER.format(port=self.port))
        own = {"queue_directory": self.queue, "data_directory": data, "maillog_file": self.log_file}
        values = DEFAULTS | own | {"maillog_file_prefixes": base} | settings
        main = self.etc / "main.cf"
        main.write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
        # Every daemon reads a file of this second again and again until it is older: two seconds each.
        os.utime(main, (0, 0))

    def __enter__(self) -> Self:
        self._make_queue()
        # Not `postfix start`, whose scripts take a second for what a directory of the test never needs.
        environment = {**os.environ, "MAIL_CONFIG": str(self.etc)}
        command = [_MASTER_PROGRAM, "-c", self.etc, "-d"]
        self._master = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        until(self._listens, said=self.log())
        return self

    def _listens(self) -> bool:
        """A socket is there a moment before anybody listens on it."""
        with socket.socket(socket.AF_UNIX) as asking:
            return asking.connect_ex(str(self.queue / "private" / "rewrite")) == 0

    def _make_queue(self) -> None:
        user, group = pwd.getpwnam("postfix").pw_uid, grp.getgrnam("postdrop").gr_gid
        names = "active bounce corrupt defer deferred flush hold incoming private saved trace maildrop public"
        for name in names.split():
            directory = self.queue / name
            directory.mkdir(mode=0o700)
            os.chown(directory, user, group if name in ("maildrop", "public") else -1)
        (self.queue / "pid").mkdir(mode=0o755)
        (self.queue / "maildrop").chmod(0o730)
        (self.queue / "public").chmod(0o710)

    def __exit__(self, *_: object) -> None:
        if self._asking is not None:
            self._answers.close()
            self._asking.close()
        # An orderly end waits for two seconds, and nothing is worth keeping.
        os.killpg(self._master.pid, signal.SIGKILL)
        self._master.wait()
        shutil.rmtree(self._base, ignore_errors=True)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def rewrite(self, address: str, rule: str = "local") -> str:
        return self._ask(request="rewrite", rule=rule, address=address)["address"]

    def resolve(self, address: str, sender: str = "") -> tuple[str, str, str, int]:
        """(transport, next hop, recipient, flags) of an address that was rewritten."""
        answer = self._ask(request="resolve", sender=sender, address=address)
        return answer["transport"], answer["nexthop"], answer["recipient"], int(answer["_flags"])

    def smtp(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=20)

    def _ask(self, **attributes: str) -> dict[str, str]:
        if self._asking is None:
            self._asking = socket.socket(socket.AF_UNIX)
            self._asking.settimeout(20)
            self._asking.connect(str(self.queue / "private" / "rewrite"))
            self._answers = self._asking.makefile("rb")
            assert self._answer() == {"protocol": "trivial_rewrite_protocol"}
        query = "".join(f"{name}\0{value}\0" for name, value in attributes.items()) + "\0"
        self._asking.sendall(query.encode())
        return self._answer()

    def _answer(self) -> dict[str, str]:
        """Names and values, each ended by NUL, then an empty name. The second `flags` of an answer is `_flags`."""
        answer: dict[str, str] = {}
        while name := self._word():
            answer[f"_{name}" if name in answer else name] = self._word()
        return answer

    def _word(self) -> str:
        word = bytearray()
        while (char := self._answers.read(1)) != b"\0":
            assert char, "trivial-rewrite hung up"
            word += char
        return word.decode()
