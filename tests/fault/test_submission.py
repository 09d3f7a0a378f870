"""Mail of local users while processes die, stop and start: what `sendmail` answered with 0 arrives."""

import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.accounts import account as throw_away
from tests.fault.test_ordinary_user import NAME, dropped
from tests.whole import PROGRAM, Gateway, Sink, until

from postwarden.cli.handing_in import NotAllowed, hand_in
from postwarden.cli.tool import Refusal, Voice
from postwarden.config.settings import load
from postwarden.mail.envelope import Recipient
from postwarden.spool.maildrop import maildrop_directory
from postwarden.wire.submission import Submission

pytestmark = pytest.mark.slow

BODY = b"Subject: x\n\nbody\n"


class Users(threading.Thread):
    """Hands in message after message, as `sendmail` does, until told to stop."""

    def __init__(self, etc: Path, number: int) -> None:
        super().__init__(daemon=True)
        self.accepted: list[str] = []
        self.failed = 0
        self._settings = load(etc)
        self._number = number
        self._over = threading.Event()

    def run(self) -> None:
        voice = Voice("sendmail")
        count = 0
        while not self._over.wait(0.02):  # the sink is slower than the gateway
            count += 1
            name = f"m{self._number}x{count}"
            submission = Submission("root", (Recipient(f"{name}@sink.example"),))
            try:
                hand_in(self._settings, voice, submission, [f"Subject: {name}\n\n{'x' * 500}\n".encode()])
            except (Refusal, NotAllowed):
                self.failed += 1
                time.sleep(0.01)
            else:
                self.accepted.append(name)

    def stop(self) -> None:
        self._over.set()
        self.join(60)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[tuple[Gateway, Sink]]:
    sink = Sink()
    gateway = Gateway(tmp_path, sink.port, minimal_backoff_time="1s", maximal_backoff_time="2s", queue_run_delay="1s")
    gateway.start()
    yield gateway, sink
    gateway.abort()
    sink.close()


def arrived(sink: Sink) -> Counter[str]:
    return Counter(to.partition("@")[0] for _, recipients, _ in list(sink.messages) for to in recipients)


def under_load(gateway: Gateway, disturb: Callable[[], object], seconds: float = 6.0) -> tuple[list[str], int]:
    """Disturbed every half second, three times at least, and until enough was handed in."""
    users = [Users(gateway.etc, number) for number in range(3)]
    for user in users:
        user.start()
    begin, times = time.monotonic(), 0
    while time.monotonic() < begin + seconds or times < 3 or sum(len(user.accepted) for user in users) <= 50:
        assert time.monotonic() < begin + 90, f"disturbed {times} times"
        time.sleep(0.5)
        times += disturb() is not False
    for user in users:
        user.stop()
    return [name for user in users for name in user.accepted], sum(user.failed for user in users)


@pytest.mark.parametrize("role", ["receiver", "agent", "courier"])
def test_kill_under_load(system: tuple[Gateway, Sink], role: str) -> None:
    gateway, sink = system
    kills = [0]

    def kill() -> bool:
        killed = bool(gateway.kill(role))
        kills[0] += killed
        return killed

    accepted, failed = under_load(gateway, kill)
    assert kills[0] >= 3
    assert len(accepted) > 50
    until(lambda: not set(accepted) - arrived(sink).keys(), 90, "mail was lost")
    twice = sum(count - 1 for count in arrived(sink).values())
    print(f"{role}: {kills[0]} kills, {len(accepted)} accepted, {failed} refused, {twice} twice")
    # At least once: an answer that a dead receiver did not give, or a delivery that the courier does not know of.
    assert twice <= kills[0] * 60


def test_stop_and_start_under_load(system: tuple[Gateway, Sink]) -> None:
    """Whether somebody listens or not is nothing that a user must know."""
    gateway, sink = system

    def restart() -> None:
        gateway.stop()
        time.sleep(0.3)
        gateway.start()

    accepted, failed = under_load(gateway, restart, 8.0)
    assert failed == 0
    assert len(accepted) > 50
    until(lambda: not set(accepted) - arrived(sink).keys(), 90, "mail was lost")
    assert max(arrived(sink).values()) == 1
    until(lambda: not os.listdir(maildrop_directory(str(gateway.queue))))


def test_reload_under_load(system: tuple[Gateway, Sink]) -> None:
    gateway, sink = system
    accepted, failed = under_load(gateway, lambda: gateway.command("reload"), 4.0)
    assert failed == 0
    until(lambda: not set(accepted) - arrived(sink).keys(), 60, "mail was lost")
    assert max(arrived(sink).values()) == 1


def test_logrotate_loses_no_line(system: tuple[Gateway, Sink], tmp_path: Path) -> None:
    gateway, sink = system
    gateway.write_main_cf(maillog_file_compressor="true", maillog_file_rotate_suffix="%H%M%S")
    gateway.command("reload")
    accepted, _ = under_load(gateway, lambda: time.sleep(1) or gateway.command("logrotate"), 5.0)
    until(lambda: not set(accepted) - arrived(sink).keys(), 60)
    logs = [path.read_text() for path in tmp_path.glob("maillog*")]
    assert len(logs) >= 3
    until(lambda: "".join(path.read_text() for path in tmp_path.glob("maillog*")).count(": removed\n") == len(accepted))
    whole = "".join(path.read_text() for path in tmp_path.glob("maillog*"))
    for name in accepted:
        assert f"to=<{name}@sink.example>" in whole


def sendmail(gateway: Gateway, *words: str, user: str = "", data: bytes = BODY) -> "subprocess.CompletedProcess[bytes]":
    env = {**os.environ, "MAIL_CONFIG": str(gateway.etc)}
    before = dropped() if user else []
    return subprocess.run([*before, PROGRAM, "sendmail", *words], input=data, capture_output=True, env=env, timeout=60)


@pytest.fixture
def account() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with throw_away(NAME, "--system", "--no-create-home", "-c", "Test User,,,"):
        yield NAME


@pytest.mark.root
def test_an_ordinary_user_up_and_down(system: tuple[Gateway, Sink], account: str) -> None:
    gateway, sink = system
    assert sendmail(gateway, "up@sink.example", user=account).returncode == 0
    gateway.stop()
    done = sendmail(gateway, "down@sink.example", user=account)
    assert done.returncode == 0, done.stderr
    (left,) = Path(maildrop_directory(str(gateway.queue))).iterdir()
    assert left.owner() == account
    gateway.start()
    until(lambda: len(sink.messages) == 2)
    for sender, _, content in sink.messages:
        assert sender == f"{account}@mx.example.com"
        assert f"\r\nFrom: Test User <{account}@mx.example.com>\r\n".encode() in content
    pattern = r"postfix/pickup\[\d+\]: \w+: uid=(\d+) from=<(.*)>"
    until(lambda: len(re.findall(pattern, gateway.log())) == 2)
    lines = re.findall(pattern, gateway.log())
    assert [name for _, name in lines] == [account, account]
    assert {number for number, _ in lines} != {"0"}


@pytest.mark.root
def test_what_an_ordinary_users_commands_say_is_in_the_log(system: tuple[Gateway, Sink], account: str) -> None:
    gateway, _ = system
    assert sendmail(gateway, user=account).returncode == 75
    env = {**os.environ, "MAIL_CONFIG": str(gateway.etc)}
    said = [*dropped(), PROGRAM, "postlog", "-t", "mytag", "-p", "warn", "hello"]
    assert subprocess.run(said, env=env, timeout=60).returncode == 0
    until(lambda: "]: warning: hello\n" in gateway.log())
    fatal = rf"postfix/sendmail\[\d+\]: fatal: {account}\(\d+\): Recipient addresses must be specified"
    assert re.search(fatal, gateway.log())
    assert re.search(r"mytag\[\d+\]: warning: hello\n", gateway.log())
    gateway.stop()
    assert subprocess.run(said, env=env, timeout=60, capture_output=True).returncode == 1


@pytest.mark.root
def test_who_may_not_can_not_by_the_way_of_maildrop(system: tuple[Gateway, Sink], account: str) -> None:
    """The command asks first, but it is the user's: what he leaves in its place is judged again."""
    gateway, sink = system
    gateway.stop()
    assert sendmail(gateway, "x@sink.example", user=account).returncode == 0
    gateway.write_main_cf(authorized_submit_users=f"!{account}, static:all")
    done = sendmail(gateway, "x@sink.example", user=account)
    assert done.returncode == 75
    assert f"User {account}(".encode() in done.stderr
    gateway.start()
    until(lambda: "is not allowed to submit mail; it is kept as refused-" in gateway.log())
    assert sink.messages == []
    (kept,) = Path(maildrop_directory(str(gateway.queue))).iterdir()
    assert kept.name.startswith("refused-")
    done = sendmail(gateway, "-bs", user=account, data=b"QUIT\r\n")
    assert done.returncode == 75
