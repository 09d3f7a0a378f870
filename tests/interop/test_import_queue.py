"""The queue of a real Postfix with a thousand messages in all states: each arrives once, and nobody gets two."""

import re
import signal
import smtplib
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.postfix_corpus import fill, queue_files, waiting
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import PROGRAM, Gateway, Sink, running, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

DEFERRED, HELD, STUCK, DROPPED = 500, 150, 300, 50
Got = Counter[tuple[int, str]]


class Remote(Sink):
    """Takes some recipients, not now others; from `stuck` on it hangs."""

    def __init__(self) -> None:
        self.stuck = threading.Event()
        self.over = threading.Event()
        super().__init__(refuse=self.answer)

    def answer(self, line: str) -> str | None:
        if self.stuck.is_set() and line.startswith("MAIL"):
            self.over.wait(120)
            return "421 too late"
        if line.startswith("RCPT TO:<later"):
            return "450 4.2.0 come back later"
        return None


def recipients(number: int) -> list[str]:
    found = [f"later{number}@sink.example"]
    if number % 3 == 0:
        found.append(f"now{number}@sink.example")
    if number % 5 == 0:
        found.append("laterall@sink.example")
    if number % 7 == 0:
        found.append(f"x{number}@mx.example.com")
    return found


def refused(*sinks: Sink) -> Counter[bytes]:
    """Recipients of whom the sender was told."""
    notices = [text for sink in sinks for _, _, text in sink.messages if b"multipart/report" in text]
    return Counter(name for text in notices for name in re.findall(rb"(?m)^Final-Recipient: rfc822; (.*?)\r?$", text))


def content(number: int) -> bytes:
    subject = "HOLD" if DEFERRED <= number < DEFERRED + HELD else "mail"
    body = b".dot\r\n" + b"x" * (number % 7 * 500) + b"\r\n" * 3 if number % 2 else "bödy\r\n".encode()
    return f"Subject: {subject} {number}\r\nX-Number: {number}\r\n\r\n".encode() + body


def received(sink: Sink) -> Got:
    return Counter(
        (int(found[1]), recipient)
        for _, recipients, content in sink.messages
        if (found := re.search(rb"(?m)^X-Number: (\d+)", content)) and b"multipart/report" not in content
        for recipient in recipients
    )


def submit(port: int, numbers: range) -> Got:
    wanted: Got = Counter()
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        for number in numbers:
            options = ["BODY=8BITMIME"] if number % 2 == 0 else []
            client.sendmail("from@sink.example", recipients(number), content(number), options)
            wanted.update((number, recipient) for recipient in recipients(number))
    return wanted


def thousand(base: Path, remote: Remote) -> tuple[RealPostfix, Got]:
    """Deferred (some recipients have it), on hold, active and incoming, and in maildrop."""
    (base / "checks").write_text("/^subject: HOLD/ HOLD\n")
    postfix = RealPostfix(
        base,
        remote.port,
        header_checks=f"regexp:{base}/checks",
        qmgr_message_active_limit="20",
        minimal_backoff_time="4000s",
        in_flow_delay="0s",
        local_recipient_maps="",
        default_process_limit="20",
    )
    postfix.start()
    try:
        wanted = submit(postfix.port, range(DEFERRED + HELD))
        until(lambda: not waiting(postfix.queue), 60)
        remote.stuck.set()
        wanted += submit(postfix.port, range(DEFERRED + HELD, DEFERRED + HELD + STUCK))
        assert len(waiting(postfix.queue)) == STUCK
        # Postfix has refused some recipients of messages that it still delivers to others, and told nobody yet.
        until(lambda: any(path.is_file() for path in (postfix.queue / "bounce").rglob("*")))
    finally:
        postfix.stop()
    for number in range(DEFERRED + HELD + STUCK, DEFERRED + HELD + STUCK + DROPPED):
        command = ["sendmail", "-C", str(postfix.etc), "-f", "from@sink.example", *recipients(number)]
        # What sendmail says of the mail system that is down is no error of its own.
        subprocess.run(command, input=content(number).replace(b"\r\n", b"\n"), check=True, capture_output=True)
        wanted.update((number, recipient) for recipient in recipients(number))
    return postfix, wanted


def counts(queue: Path) -> dict[str, int]:
    return {
        name: sum(path.is_file() for path in (queue / name).rglob("*"))
        for name in ("incoming", "active", "deferred", "hold", "maildrop")
    }


def test_a_thousand_messages_arrive_once(tmp_path: Path) -> None:
    remote = Remote()
    postfix, wanted = thousand(tmp_path, remote)
    before = counts(postfix.queue)
    assert before["deferred"] == DEFERRED and before["hold"] == HELD and before["maildrop"] == DROPPED
    assert before["active"] and before["incoming"] and before["active"] + before["incoming"] == STUCK
    first, total = received(remote), sum(wanted.values())
    remote.over.set()
    again = Sink()
    (tmp_path / "us").mkdir()
    gateway = Gateway(tmp_path / "us", again.port)
    said = _import_killed(gateway, postfix)
    assert f"{sum(before.values())} messages with " in said, said
    assert counts(postfix.queue) == dict.fromkeys(before, 0)
    with running(gateway):
        _tool(gateway, "postsuper", "-H", "ALL")
        _tool(gateway, "postqueue", "-f")
        until(lambda: sum((first + received(again)).values()) + sum(refused(remote, again).values()) >= total, 60)
        until(lambda: _tool(gateway, "postqueue", "-p") == "Mail queue is empty\n")
    told = Counter({(int(name[1:].split(b"@")[0]), name.decode()): n for name, n in refused(remote, again).items()})
    assert first + received(again) + told == wanted
    _same_content(remote, again)


def _import_killed(gateway: Gateway, postfix: RealPostfix) -> str:
    """Killed in the middle, more than once; what the runs have said together."""
    taken = 0
    for seconds in (0.45, 0.55, 0.65):
        command = [PROGRAM, "-c", gateway.etc, "import-queue", postfix.queue]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
    aside = postfix.queue / "imported-by-postwarden"
    if aside.exists():
        kept = [path.parent.name for path in aside.rglob("*") if path.is_file()]
        taken = sum(name in ("incoming", "active", "deferred", "hold", "maildrop") for name in kept)
    done = gateway.command("import-queue", str(postfix.queue), check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(r"(\d+) messages? with (\d+) recipients? taken over", done.stdout)
    assert found is not None
    return f"{int(found[1]) + taken} messages with "


def _tool(gateway: Gateway, name: str, *words: str) -> str:
    done = subprocess.run([PROGRAM, name, "-c", gateway.etc, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _same_content(first: Sink, again: Sink) -> None:
    """What Postfix has sent to some recipients and we to others of one message is the same, byte for byte."""

    def numbered(sink: Sink) -> list[tuple[bytes, bytes]]:
        texts = [text for _, to, text in sink.messages if to and b"multipart/report" not in text]
        return [(found[1], text) for text in texts if (found := re.search(rb"(?m)^X-Number: (\d+)", text))]

    theirs = dict(numbered(first))
    both = [(number, text) for number, text in numbered(again) if number in theirs]
    assert len(both) > 100
    for number, text in both:
        assert text == theirs[number]


def test_mail_of_every_kind(tmp_path: Path) -> None:
    """It leaves us as it would have left Postfix."""
    found = []
    for who in ("them", "us"):
        base = tmp_path / who
        base.mkdir()
        postfix = fill(base)
        count = len(queue_files(postfix.queue))
        sink = Sink()
        everywhere = f"smtp:[127.0.0.1]:{sink.port}"
        if who == "them":
            text = (postfix.etc / "main.cf").read_text()
            text = re.sub("(?m)^(defer_transports|transport_maps) =.*\n", "", text)
            (postfix.etc / "main.cf").write_text(
                f"{text}default_transport = {everywhere}\nrelay_transport = {everywhere}\n"
            )
            postfix.start()
            subprocess.run(["postsuper", "-c", postfix.etc, "-H", "ALL"], check=True, capture_output=True)
            subprocess.run(["postqueue", "-c", postfix.etc, "-f"], check=True, capture_output=True)
            try:
                until(lambda queue=postfix.queue: not [*queue_files(queue), *waiting(queue)], 60)  # type: ignore[misc]
            finally:
                postfix.stop()
        else:
            (base / "ours").mkdir()
            gateway = Gateway(base / "ours", sink.port, default_transport=everywhere)
            done = gateway.command("import-queue", str(postfix.queue))
            assert f"{count} messages with " in done.stdout
            with running(gateway):
                _tool(gateway, "postsuper", "-H", "ALL")
                _tool(gateway, "postqueue", "-f")
                until(lambda gateway=gateway: _tool(gateway, "postqueue", "-p").startswith("Mail queue is"), 60)  # type: ignore[misc]
        found.append(sorted((sender, sorted(to), _plain(text)) for sender, to, text in sink.messages))
    for ours, theirs in zip(*reversed(found), strict=True):
        assert ours == theirs


def _plain(content: bytes) -> bytes:
    content = re.sub(rb"\d{14}\.\w+@|\b[0-9A-F]{10,}\b", b"ID", content)
    return re.sub(rb"\w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d", b"DATE", content)


def test_it_refuses_while_a_mail_system_runs(tmp_path: Path) -> None:
    postfix = RealPostfix(tmp_path, 9)
    (tmp_path / "us").mkdir()
    gateway = Gateway(tmp_path / "us", 9)
    postfix.start()
    try:
        done = gateway.command("import-queue", str(postfix.queue), check=False)
        assert done.returncode == 1 and re.search(r"a Postfix runs on .* \(process \d+\): stop it first", done.stderr)
        assert gateway.command("import-queue", "-n", str(postfix.queue)).returncode == 0
    finally:
        postfix.stop()
    with running(gateway):
        done = gateway.command("import-queue", str(postfix.queue), check=False)
        assert done.returncode == 1 and "stop it first" in done.stderr
    assert gateway.command("import-queue", str(postfix.queue)).returncode == 0
