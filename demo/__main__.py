"""`python -m demo [--once]`: start the gateway, send three messages through it, show where each ended, then serve.

With `--once` it ends after the messages: exit 0 only if each ended where it should.
"""

import asyncio
import getpass
import importlib.util
import os
import pwd
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from demo.standin import StandIn

PORT, INTERNAL_PORT = 2525, 2526
OWN = Path(__file__).parent / "messages"
MAIN_CF = """\
# Made by `make run`. What is not set here has Postfix's default.
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
maillog_file = {base}/maillog
mail_owner = {owner}
myhostname = gateway.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
# We play a stranger: nobody may relay, not even this machine.
mynetworks =
mydestination = gateway.example
alias_maps = inline:{{postmaster={user}}}
local_recipient_maps = unix:passwd.byname $alias_maps
mail_spool_directory = {base}/mail
# Debian's setting; Postfix's own default only puts strangers off (454).
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
# Mail for the internal domain goes to the internal server.
relay_domains = internal.example
transport_maps = inline:{{internal.example=smtp:[127.0.0.1]:{internal}}}
"""
MASTER_CF = f"""\
127.0.0.1:{PORT} inet n - n - - smtpd
smtp   unix - - n - - smtp
relay  unix - - n - - smtp
local  unix - n n - - local
error  unix - - n - - error
retry  unix - - n - - error
"""


@dataclass
class Step:
    """One message, and how we know that it ended where it should."""

    title: str
    recipient: str
    message: bytes
    refused: bool = False


class Demo:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.user = getpass.getuser() if os.geteuid() else "mail"
        self.log = base / "maillog"
        self.mailbox = base / "mail" / self.user
        self.failures: list[str] = []
        self.gateway: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        for name, mode in (("etc", 0o755), ("queue", 0o755), ("data", 0o755), ("mail", 0o1777), ("internal", 0o755)):
            (self.base / name).mkdir()
            (self.base / name).chmod(mode)
        self.base.chmod(0o755)
        owner = "mail" if os.geteuid() == 0 else self.user
        if os.geteuid() == 0:
            os.chown(self.base / "data", pwd.getpwnam(owner).pw_uid, -1)
        values = {"base": self.base, "owner": owner, "user": self.user, "internal": INTERNAL_PORT}
        (self.base / "etc" / "main.cf").write_text(MAIN_CF.format(**values))
        (self.base / "etc" / "master.cf").write_text(MASTER_CF)

    def start(self) -> None:
        program = Path(sys.executable).parent / "postwarden"
        self.gateway = subprocess.Popen([program, "-c", self.base / "etc", "start-fg"], start_new_session=True)

    async def wait_until_it_answers(self) -> None:
        for _ in range(300):
            if self.gateway is not None and self.gateway.poll() is not None:
                raise SystemExit("demo: the gateway did not start; the lines above say why")
            try:
                await asyncio.to_thread(greeting)
                return
            except OSError:
                await asyncio.sleep(0.1)
        raise SystemExit(f"demo: nobody answers on 127.0.0.1:{PORT}; see {self.log}")

    def stop(self) -> None:
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.send_signal(signal.SIGTERM)
            try:
                self.gateway.wait(30)
            except subprocess.TimeoutExpired:
                self.gateway.kill()

    async def show(self, step: Step, standin: StandIn) -> None:
        print(f"\n── {step.title}: to {step.recipient}")
        begin = self.log.stat().st_size if self.log.exists() else 0
        answer = await asyncio.to_thread(send, step)
        print(f"   the gateway answered: {answer}")
        ended = await self.find(step, standin, answer)
        print(f"   it ended: {ended or 'NOT where it should'}")
        if ended is None:
            self.failures.append(step.title)
        await asyncio.sleep(0.2)
        with self.log.open() as log:
            log.seek(begin)
            for line in log:
                if ": connect from" not in line and "disconnect from" not in line:
                    print(f"   log: {line.rstrip()}")

    async def find(self, step: Step, standin: StandIn, answer: str) -> str | None:
        if step.refused:
            return (
                "refused, as relaying" if answer.startswith("554 5.7.1") and "Relay access denied" in answer else None
            )
        if not answer.startswith("250"):
            return None
        body = step.message.replace(b"\r\n", b"\n").partition(b"\n\n")[2].rstrip()
        for _ in range(100):
            places = standin.kept if "internal" in step.recipient else [self.mailbox]
            for place in places:
                if place.exists() and body in place.read_bytes():
                    return str(place)
            await asyncio.sleep(0.1)
        return None


def send(step: Step) -> str:
    """Send one message; the reply that decided."""
    with smtplib.SMTP("127.0.0.1", PORT, timeout=30) as client:
        client.ehlo("elsewhere.example")
        client.mail("ada@elsewhere.example")
        code, text = client.rcpt(step.recipient)
        if code == 250:
            code, text = client.data(step.message)
        return f"{code} {text.decode()}"


def greeting() -> None:
    with smtplib.SMTP("127.0.0.1", PORT, timeout=5):
        pass


def corpus() -> list[Path]:
    """Real messages: those of CPython's own test suite where it is installed, and ours."""
    spec = importlib.util.find_spec("test")
    folders = [Path(p) / "test_email" / "data" for p in (spec.submodule_search_locations or [])] if spec else []
    return [*(path for folder in folders for path in sorted(folder.glob("msg_0[1-9].txt"))), *sorted(OWN.glob("*.eml"))]


async def play(demo: Demo, *, once: bool) -> int:
    standin = StandIn(demo.base / "internal")
    async with await standin.serve(INTERNAL_PORT):
        demo.start()
        await demo.wait_until_it_answers()
        messages = [path.read_bytes() for path in corpus()]
        pick = (messages * 3)[:3]
        for step in (
            Step("relayed to the internal server", "mick@internal.example", pick[0]),
            Step("to a local mailbox", "postmaster@gateway.example", pick[1]),
            Step("to somebody else's domain", "victim@elsewhere.example", pick[2], refused=True),
        ):
            await demo.show(step, standin)
        if demo.failures:
            print(f"\nNOT as it should be: {', '.join(demo.failures)}")
        else:
            print("\nEach message ended where it should.")
        if not once and not demo.failures:
            await serve(demo)
        await asyncio.to_thread(demo.stop)
    return 1 if demo.failures else 0


async def serve(demo: Demo) -> None:
    program = f"{Path(sys.executable).parent}/postwarden -c {demo.base}/etc"
    print(f"""
The gateway serves on 127.0.0.1:{PORT} until you press Ctrl-C. What to try next:
  swaks --server 127.0.0.1:{PORT} --from you@elsewhere.example --to mick@internal.example
  tail -f {demo.log}
  {program} status
  {program} queue
  echo hello | {program} sendmail mick@internal.example
  edit {demo.base}/etc/main.cf, then: {program} reload""")
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await over.wait()
    print("\nstopping")


def main() -> int:
    base = Path(tempfile.mkdtemp(prefix="postwarden-demo-"))
    demo = Demo(base)
    begin = time.monotonic()
    try:
        demo.prepare()
        code = asyncio.run(play(demo, once="--once" in sys.argv))
    except KeyboardInterrupt:
        code = 130
    finally:
        demo.stop()
        shutil.rmtree(base, ignore_errors=True)
    print(f"done in {time.monotonic() - begin:.1f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
