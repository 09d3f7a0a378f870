"""Mail of every kind in the queue of a real Postfix: what can be said at submission, what its checks do, what a filter
edits in a queue file."""

import smtplib
import struct
import subprocess
from pathlib import Path
from typing import BinaryIO

from tests.realpostfix import RealPostfix
from tests.whole import Server, until

SENDER = "from@x.example"
ONE, THREE = ["one@sink.example"], ["one@sink.example", "two@sink.example", "three@sink.example"]
_EDITS = (
    "addheader", "insheader", "chgheader", "delheader", "addrcpt", "delrcpt", "chgfrom", "longer", "shorter",
    "addheader insheader chgheader delheader addrcpt delrcpt chgfrom longer",
    "addheader insheader chgheader delheader addrcpt delrcpt chgfrom shorter",
)  # fmt: skip
_DSN = ["NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=rfc822;Orig+2B@x.example"]
_LONG = b"".join(b"l" * size + b"\r\n" for size in (2047, 2048, 2049, 10000, 0)) + b".dot\r\n..dots\r\nlast"
_BY_SMTP: tuple[tuple[str, list[str], bytes, list[str], list[str]], ...] = (
    (SENDER, ONE, b"Subject: plain\r\n\r\nbody\r\n", [], []),
    (SENDER, [*THREE, "old@sink.example"], b"Subject: dsn\r\n\r\nbody\r\n", ["RET=HDRS", "ENVID=abc+2Bdef"], _DSN),
    (SENDER, ONE, b"Subject: never\r\n\r\nbody\r\n", ["RET=FULL"], ["NOTIFY=NEVER"]),
    (SENDER, THREE, b"Subject: REDIRECT\r\n\r\nbody\r\n", [], []),
    (SENDER, THREE, b"Subject: HOLD\r\n\r\nbody\r\n", [], []),
    (SENDER, ONE, b"Subject: long\r\nX-Long: " + b"h" * 2500 + b"\r\n\r\n" + _LONG, [], []),
    (SENDER, ONE, b"Subject: binary\r\n\r\n\0\x01\x0b" + bytes(range(14, 256)) + b"\r\n", ["BODY=8BITMIME"], []),
    (SENDER, ONE, b"Subject: seven\r\n\r\nbody\r\n", ["BODY=8BITMIME"], []),
    (SENDER, THREE, b"Subject: verp\r\n\r\nbody\r\n", ["XVERP"], []),
    (SENDER, ONE, b"Subject: verp -=\r\n\r\nbody\r\n", ["XVERP=-="], []),
    ("", ONE, b"Subject: null sender\r\n\r\nbody\r\n", [], []),
    ('"quoted \\" one"@x.example', ['"a b"@sink.example'], b"Subject: quoted\r\n\r\nbody\r\n", [], []),
    (SENDER, ONE, b"\r\nno header\r\n", [], []),
    (SENDER, ONE, b"", [], []),
    (SENDER, ONE, b"no header at all\r\nSubject: no header\r\n", [], []),
    (SENDER, ONE, b"Subject: folded\r\nX-A: b\r\n c\r\n\td\r\n\r\nbody\r\n", [], []),
)
_BY_SENDMAIL: tuple[tuple[list[str], bytes], ...] = (
    (["-F", "Full Näme", *ONE], b"Subject: local\n\nbody\nFrom here\n"),
    (["-v", *ONE], b"Subject: minus v\n\nbody\n"),
    (["-bv", *ONE], b""),
    (["-XV+=", *ONE], b"Subject: minus XV\n\nbody\n"),
    (["-N", "success,delay", "-R", "hdrs", "-V", "env1", *ONE], b"Subject: minus N\n\nbody\n"),
    (["-t"], b"Subject: t\nTo: one@sink.example, two@sink.example\nBcc: three@sink.example\nErrors-To: e@x\n\nbody\n"),
    (["-B", "8BITMIME", *ONE], b"Subject: 8bit\n\nb\xf6dy\n"),
    (ONE, b"Subject: no end of line\n\nno end"),
)


class Milter(Server):
    """A filter that edits what the subject names."""

    def _talk(self, stream: BinaryIO) -> None:
        subject = b""
        while len(head := stream.read(4)) == 4:
            packet = stream.read(int.from_bytes(head))
            command, data = packet[:1], packet[1:]
            if command == b"Q":
                return
            if command in b"DA":
                continue
            if command == b"O":
                _send(stream, b"O", struct.pack(">III", 6, 0x1FF, 0))
            else:
                if command == b"M":
                    subject = b""
                if command == b"L" and data.lower().startswith(b"subject\0"):
                    subject = data[8:-1].strip()
                if command == b"E" and subject.startswith(b"milter"):
                    _edit(stream, subject.split())
                _send(stream, b"c")
            stream.flush()


def _send(stream: BinaryIO, command: bytes, data: bytes = b"") -> None:
    stream.write(struct.pack(">I", len(data) + 1) + command + data)


def _edit(stream: BinaryIO, words: list[bytes]) -> None:
    edits = {
        b"addheader": [(b"h", b"X-Added\0by the filter\0")],
        b"insheader": [(b"i", struct.pack(">I", 0) + b"X-First\0inserted\n\tfolded\0")],
        b"chgheader": [(b"m", struct.pack(">I", 1) + b"Subject\0changed " + b"long " * 40 + b"\0")],
        b"delheader": [(b"m", struct.pack(">I", 1) + b"X-Away\0\0")],
        b"addrcpt": [
            (b"+", b"<added@sink.example>\0"),
            (b"2", b"<par@sink.example>\0NOTIFY=SUCCESS ORCPT=rfc822;o@x\0"),
        ],
        b"delrcpt": [(b"-", b"<two@sink.example>\0")],
        b"chgfrom": [(b"e", b"<new@from.example>\0")],
        b"longer": [(b"b", b"new body %d\r\n" % n + b"z" * 5000 + b"\r\n") for n in range(3)],
        b"shorter": [(b"b", b"tiny\r\n")],
    }
    for word in words[1:]:
        for command, data in edits[word]:
            _send(stream, command, data)


def fill(base: Path, *, edited: bool = True) -> RealPostfix:
    """A Postfix below `base` that has stopped, with all of it in its queue: deferred, or on hold."""
    milter = Milter()
    (base / "checks").write_text(
        "/^subject: REDIRECT/ REDIRECT other@sink.example\n/^subject: HOLD/ HOLD\n/^subject: PREPEND/ PREPEND X-P: y\n"
    )
    settings = {"smtpd_milters": f"inet:127.0.0.1:{milter.port}"} if edited else {}
    postfix = RealPostfix(
        base,
        9,
        defer_transports="smtp relay local",
        header_checks=f"regexp:{base}/checks",
        smtpd_authorized_xclient_hosts="127.0.0.1",
        smtpd_authorized_verp_clients="127.0.0.1",
        recipient_canonical_maps="inline:{old@sink.example=new@sink.example}",
        delay_warning_time="1h",
        **settings,
    )
    postfix.start()
    try:
        _submit(postfix, edited)
    finally:
        postfix.stop()
        milter.close()
    return postfix


def _submit(postfix: RealPostfix, edited: bool) -> None:
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        for message in _BY_SMTP:
            client.sendmail(*message)
        for edit in _EDITS if edited else ():
            head = f"X-Away: gone\r\nSubject: milter {edit}\r\nX-Away: stays\r\nX-Z: end\r\n\r\n"
            client.sendmail(SENDER, THREE, f"{head}body\r\n")
        client.docmd("XCLIENT NAME=spike.example ADDR=192.0.2.5 PORT=1234 LOGIN=user@login REVERSE_NAME=[UNAVAILABLE]")
        client.ehlo("again.example")
        client.sendmail(SENDER, ONE, "Subject: xclient\r\n\r\nbody\r\n")
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.ehlo("utf8.example")
        content = "Subject: ütf8\r\nTo: <ä@sink.example>\r\n\r\nbödy\r\n".encode()
        client.sendmail("sü@x.example", ["rü@sink.example"], content, ["SMTPUTF8"])
    for words, text in _BY_SENDMAIL:
        command = ["sendmail", "-C", str(postfix.etc), "-f", "me@x.example", *words]
        subprocess.run(command, input=text, check=True, capture_output=True, timeout=60)
    until(lambda: not waiting(postfix.queue), 30)


def waiting(queue: Path) -> list[Path]:
    """Files that Postfix has not dealt with yet."""
    return [path for name in ("maildrop", "incoming", "active") for path in (queue / name).rglob("*") if path.is_file()]


def queue_files(queue: Path) -> list[Path]:
    found = [path for name in ("deferred", "hold") for path in (queue / name).rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: path.name)
