"""MariaDB, PostgreSQL and OpenLDAP of Debian on loopback, each in its own directory, started and stopped at will."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import children, until

_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
_NEEDED = {
    "mariadb-server": shutil.which("mariadbd"),
    "postgresql": _POSTGRES,
    "slapd": shutil.which("slapd"),
}
as_root = os.geteuid() == 0


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (as_root and _NEEDED[package]), reason=f"needs root and Debian's {package}")


class Server:
    """`start` returns when it answers; `stop` kills it, so that nothing is said goodbye to."""

    account = ""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.port = free_port()
        base.mkdir()
        user = pwd.getpwnam(self.account)
        os.chown(base, user.pw_uid, user.pw_gid)
        base.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    def _spawn(self, words: list[str], ready: Callable[[], bool]) -> None:
        with (self.base / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self.account, group=self._group(),
                extra_groups=(), cwd=self.base,
            )  # fmt: skip
        try:
            until(lambda: ready() or self._process is None or self._process.poll() is not None, seconds=30)
            assert self._process.poll() is None, (self.base / "log").read_text(errors="replace")
        except BaseException:
            self.stop()
            raise

    def _group(self) -> int:
        return pwd.getpwnam(self.account).pw_gid

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(30)

    def freeze(self) -> None:
        """It takes connections (the kernel does) and says nothing more."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        for pid in (self._process.pid, *children(self._process.pid)):
            os.kill(pid, number)

    def _run(self, words: list[str], text: str = "") -> str:
        done = subprocess.run(
            words, input=text, text=True, capture_output=True, user=self.account, group=self._group(), extra_groups=(),
            cwd=self.base, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words[0]}: exit {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout


class MariaDb(Server):
    """`socket`: its Unix socket; `root` may do all, over that."""

    account = "mysql"

    def __init__(self, base: Path, *options: str) -> None:
        super().__init__(base)
        self.socket = base / "socket"
        self._options = [
            "--no-defaults", f"--datadir={base}/data", f"--tmpdir={base}", "--skip-innodb",
            "--default-storage-engine=Aria", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=8M",
        ]  # fmt: skip
        self._more = options
        self._run([
            "mariadb-install-db", *self._options, "--auth-root-authentication-method=normal", "--skip-test-db",
            "--skip-name-resolve",
        ])  # fmt: skip

    def start(self) -> None:
        words = [
            "mariadbd", *self._options, f"--socket={self.socket}", f"--port={self.port}", "--bind-address=127.0.0.1",
            f"--pid-file={self.base}/pid", "--skip-name-resolve", *self._more,
        ]  # fmt: skip
        self._spawn(words, lambda: self._answers("select 1"))

    def _answers(self, query: str) -> bool:
        words = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-e", query]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def execute(self, text: str) -> str:
        words = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-N", "-B"]
        return self._run([*words, "--default-character-set=utf8mb4"], text)


class Postgres(Server):
    """`socket`: the directory of its Unix socket; `postgres` may do all, over that."""

    account = "postgres"

    def __init__(self, base: Path, *options: str) -> None:
        super().__init__(base)
        self.socket = base
        self._bin = _POSTGRES[-1].parent
        self._more = options
        words = [f"{self._bin}/initdb", "-D", f"{base}/data", "-N", "-E", "UTF8", "--no-locale", "-A", "scram-sha-256"]
        (base / "password").write_text("root\n")
        self._run([*words, "--auth-local=trust", f"--pwfile={base}/password", "--no-instructions"])

    def start(self) -> None:
        words = [
            f"{self._bin}/postgres", "-D", f"{self.base}/data", "-p", f"{self.port}", "-k", f"{self.socket}",
            "-c", "listen_addresses=127.0.0.1", "-F", "-c", "shared_buffers=16MB", *self._more,
        ]  # fmt: skip
        (self.base / "data" / "postmaster.pid").unlink(missing_ok=True)
        self._spawn(words, self._answers)

    def _answers(self) -> bool:
        words = [f"{self._bin}/pg_isready", "-q", "-h", f"{self.socket}", "-p", f"{self.port}"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def execute(self, text: str, database: str = "postgres") -> str:
        words = [f"{self._bin}/psql", "-qXAt", "-h", f"{self.socket}", "-p", f"{self.port}", "-v", "ON_ERROR_STOP=1"]
        return self._run([*words, "-d", database], text)


_SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include {base}/mail.schema
pidfile {base}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
{settings}
database mdb
suffix "dc=test"
rootdn "cn=root,dc=test"
rootpw root
directory {base}/data
{access}
"""


class Slapd(Server):
    """`socket`: its Unix socket. `@port@` in its entries is its port."""

    account = "openldap"

    def __init__(self, base: Path, schema: str, entries: str, settings: str = "", access: str = "") -> None:
        super().__init__(base)
        self.socket = base / "socket"
        self.tls_port = free_port()
        self._tls = "TLSCertificateFile" in settings
        (base / "mail.schema").write_text(schema)
        (base / "slapd.conf").write_text(_SLAPD.format(base=base, settings=settings, access=access))
        self._run(["mkdir", "data"])
        self._run(["slapadd", "-f", f"{base}/slapd.conf", "-q"], entries.replace("@port@", str(self.port)))

    @property
    def ldapi(self) -> str:
        return "ldapi://" + str(self.socket).replace("/", "%2F")

    def start(self) -> None:
        urls = f"ldap://127.0.0.1:{self.port} {self.ldapi}"
        if self._tls:
            urls += f" ldaps://127.0.0.1:{self.tls_port}"
        self._spawn(["slapd", "-d", "0", "-f", f"{self.base}/slapd.conf", "-h", urls], self._answers)

    def _answers(self) -> bool:
        words = ["ldapsearch", "-x", "-LLL", "-H", self.ldapi, "-b", "", "-s", "base", "1.1"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
