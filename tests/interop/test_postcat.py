"""postcat beside Postfix's: the same files printed alike, and the same mail in both queues."""

import os
import random
import re
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest
from tests.postfix_corpus import ONE, fill, queue_files
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import MASTER_CF, PROGRAM, Gateway, running, until

from postwarden.cli import postcat, queued

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

OPTIONS = (
    [], ["-v"], ["-o"], ["-h"], ["-b"], ["-bh"], ["-e"], ["-eh"], ["-eb"], ["-d"], ["-vo"], ["-r"], ["-rvo"],
    ["-s", "186"], ["-ho"], ["-bhv"],
)  # fmt: skip
JUNK = (
    b"p\x0f            100", b"p\x01x", b"M\0", b"X\0", b"E\0", b"A\x03abc", b"A\0", b"A\x04 =b ", b"W\x05hello",
    b"C\x0535 60", b"C\x01x", b"L\x03abc", b"N\x02\0a", b"p\x010", b"w\x010", b"\xff\x01x", b"N\xff\xff\xff\xff\x0f",
)  # fmt: skip
Said = tuple[int, bytes, list[str]]


def theirs(postfix: RealPostfix, words: list[str]) -> Said:
    done = subprocess.run(["postcat", "-c", postfix.etc, *words], capture_output=True, timeout=60)
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    # -v is also said to Postfix's library, which tells of itself.
    return done.returncode, done.stdout, [line for line in lines if re.match("postcat: (warning|fatal)", line)]


def ours(postfix: RealPostfix, words: list[str], capfdbinary: pytest.CaptureFixture[bytes]) -> Said:
    capfdbinary.readouterr()
    code = postcat.main("postcat", ["-c", str(postfix.etc), *words])
    sys.stdout.flush()
    said = capfdbinary.readouterr()
    return code, said.out, said.err.decode("utf-8", "replace").splitlines()


@pytest.mark.parametrize("edited", [True, False], ids=["edited", "plain"])
def test_the_same_files(edited: bool, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    postfix = fill(tmp_path, edited=edited)
    files = queue_files(postfix.queue)
    assert len(files) >= (37 if edited else 26)
    for number, file in enumerate(files):
        for options in OPTIONS if number % 4 == 0 else (["-rvo"], ["-e"], []):
            words = [*options, str(file)]
            assert ours(postfix, words, capfdbinary) == theirs(postfix, words), words


def damaged(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    at = chance.randrange(len(changed))
    how = chance.random()
    if how < 0.4:
        changed[at] = chance.randrange(256)
    elif how < 0.6:
        del changed[at:]
    else:
        changed[at:at] = chance.choice(JUNK)
    return bytes(changed) or b"C"


def test_damaged_files(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    postfix = fill(tmp_path)
    files = queue_files(postfix.queue)
    chance = random.Random(3)
    bad = tmp_path / "bad"
    for _ in range(25):
        bad.write_bytes(damaged(chance.choice(files).read_bytes(), chance))
        words = [*chance.choice(OPTIONS), str(bad)]
        found, wanted = ours(postfix, words, capfdbinary), theirs(postfix, words)
        assert (*found[:2], _placeless(found[2])) == (*wanted[:2], _placeless(wanted[2])), (words, bad.read_bytes())


def _placeless(lines: list[str]) -> list[str]:
    """Where in rubbish the end is met depends on how it is read."""
    return [re.sub(r"record type \d+ length \d+", "record", line) for line in lines]


def test_what_is_no_queue_file(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    postfix = fill(tmp_path, edited=False)
    name = queue_files(postfix.queue)[0].name
    (tmp_path / "text").write_text("Hello")
    for words in (
        [str(tmp_path / "text")], ["/dev/null"], [str(tmp_path)], [str(tmp_path / "none")], ["-q", "NONE"],
        ["-q", "a/b"], ["-q", name], ["-q", "-e", name, "NONE"], ["-x"], ["-s"], ["-s", "x", "y"],
    ):  # fmt: skip
        found = theirs(postfix, words)
        assert ours(postfix, words, capfdbinary)[:2] == found[:2], words
        assert ours(postfix, words, capfdbinary)[2][-1:] == found[2][-1:], words


def test_a_pipe_can_be_read_too(tmp_path: Path) -> None:
    """Postfix's fails there, where it has to go back."""
    postfix = fill(tmp_path)
    file = queue_files(postfix.queue)[0]
    with subprocess.Popen(["cat", file], stdout=subprocess.PIPE) as cat:
        done = subprocess.run([PROGRAM, "postcat", "-e"], stdin=cat.stdout, capture_output=True, timeout=60)
    code, out, _ = theirs(postfix, ["-e", str(file)])
    assert (done.returncode, done.stdout) == (code, out.replace(os.fsencode(file), b"stdin"))


def _mail(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo("client.example")
        client.sendmail("from@x.example", ONE, "Subject: plain\r\n\r\nbody\r\n")
        recipients = [*ONE, '"a b"@sink.example', "old@sink.example"]
        dsn = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Orig+2B@x"]
        client.sendmail("from@x.example", recipients, "Subject: dsn\r\n\r\nb\r\n", ["RET=HDRS", "ENVID=a+2Bb"], dsn)
        client.sendmail("", ONE, "Subject: 8bit\r\nX: a\r\n b\r\n\r\nbödy\r\n".encode(), ["BODY=8BITMIME"])
        long = b"".join(b"l" * size + b"\r\n" for size in (2047, 2048, 2049, 10000))
        client.sendmail("from@x.example", ONE, b"Subject: long\r\n\r\n" + long * 30)


def _told(text: bytes) -> bytes:
    """Times and ids aside: an id's length shows in figures and offsets."""
    text = re.sub(rb"(?m)^ *\d+ ", b"", text)
    text = re.sub(rb"(?m)^((?: *\d+ )?message_size:).*", rb"\1", text)
    text = re.sub(rb"deferred/\w/\w+|\b\d{14}\.\w+@|\b[0-9A-F]{10,}\b", b"ID", text)
    return re.sub(rb"\d\d:\d\d:\d\d|(?<=port=)\d+", b"TIME", text)


def test_the_same_mail_in_both_queues(tmp_path: Path) -> None:
    settings = {
        "defer_transports": "smtp relay",
        "delay_warning_time": "1h",
        "recipient_canonical_maps": "inline:{old@sink.example=new@sink.example}",
    }
    for who in ("us", "them"):
        (tmp_path / who).mkdir()
    postfix = RealPostfix(tmp_path / "them", 9, **settings)
    gateway = Gateway(tmp_path / "us", 9, **settings)
    postfix.start()
    try:
        with running(gateway):
            found = []
            for port, log in ((gateway.port, gateway.log), (postfix.port, postfix.log)):
                _mail(port)
                until(lambda log=log: log().count("status=deferred") >= 6, 20)  # type: ignore[misc]
                found.append(re.findall(r"cleanup\[\d+\]: (\w+): message-id", log()))
            assert len(found[0]) == len(found[1]) == 4
            _compare(gateway, postfix, *found)
            assert _as_nobody(gateway, found[0][0], tmp_path) == b"Permission denied"
        _compare(gateway, postfix, *found)
        assert _as_nobody(gateway, found[0][0], tmp_path) == b"Permission denied"
    finally:
        postfix.stop()


def _compare(gateway: Gateway, postfix: RealPostfix, our_ids: list[str], their_ids: list[str]) -> None:
    for options in ([], ["-vo"], ["-bh"], ["-d", "-e"], ["-b"]):
        command = [PROGRAM, "postcat", "-c", gateway.etc, "-q", *options, *our_ids]
        done = subprocess.run(command, capture_output=True, timeout=60)
        said = theirs(postfix, ["-q", *options, *their_ids])
        assert (done.returncode, done.stderr) == (0, b"")
        assert _told(done.stdout).split(b"\n") == _told(said[1]).split(b"\n")


def _as_nobody(gateway: Gateway, queue_id: str, base: Path) -> bytes:
    """What a stranger is told, in a process of his own; its modules are here already."""
    assert queued
    target = base / "said"
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(target, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            sys.stderr = open(2, "w", 1, closefd=False)  # noqa: SIM115 # pytest has its own
            os._exit(postcat.main("postcat", ["-c", str(gateway.etc), "-q", queue_id]))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    return target.read_bytes().rstrip().rpartition(b": ")[2]


def test_mail_of_local_users_in_both_queues(tmp_path: Path) -> None:
    for who in ("us", "them"):
        (tmp_path / who).mkdir()
    settings = {"defer_transports": "smtp relay", "delay_warning_time": "1h"}
    postfix = RealPostfix(tmp_path / "them", 9, **settings)
    gateway = Gateway(tmp_path / "us", 9, f"{MASTER_CF}pickup unix n - n - - pickup\n", **settings)
    postfix.start()
    try:
        with running(gateway):
            found = []
            for command, etc, log in (
                ([PROGRAM, "sendmail"], gateway.etc, gateway.log), (["sendmail"], postfix.etc, postfix.log),
            ):  # fmt: skip
                for number, (words, text) in enumerate(_SUBMITTED, 1):
                    said = [*command, "-C", etc, "-f", "me@x.example", *words, *ONE]
                    subprocess.run(said, input=text, check=True, capture_output=True, timeout=60)
                    until(lambda log=log, number=number: log().count("status=deferred") >= number, 30)  # type: ignore[misc]
                found.append(re.findall(r"cleanup\[\d+\]: (\w+): message-id", log()))
            _compare(gateway, postfix, *found)
    finally:
        postfix.stop()


_SUBMITTED = (
    (["-F", "Full Name"], b"Subject: local\n\nbody\nFrom here\n"),
    (["-XV+="], b"Subject: verp\n\nbody\n"),
    (["-N", "success,delay", "-R", "hdrs", "-V", "env1"], b"Subject: minus N\n\nbody\n"),
    ([], "Subject: 8bit\n\nbödy\n".encode()),
    ([], "Subject: mime\nContent-Transfer-Encoding: 8bit\n\nbödy\n".encode()),
)
