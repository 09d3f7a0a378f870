"""A corpus of real messages, through us and through Debian's Postfix beside us: bodies equal to the byte, and the same
list of headers."""

import importlib.util
import socket
from pathlib import Path

import pytest
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import Gateway, Sink, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

MADE = {
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n...x\r\n.x\r\nx.\r\n",
    "long-lines": b"Subject: long\r\n\r\n" + b"a" * 5000 + b"\r\n" + b".b" * 3000 + b"\r\n",
    "exact-998": b"Subject: limit\r\n\r\n" + b"c" * 998 + b"\r\n" + b"d" * 999 + b"\r\n" + b"e" * 1000 + b"\r\n",
    "long-header": b"Subject: " + b"h" * 4000 + b"\r\n\r\nbody\r\n",
    "no-header": b"\r\nonly a body\r\n",
    "no-body": b"Subject: none\r\n",
    "no-blank-line": b"this is no header\r\nand this is neither\r\n",
    "from-line": b"From ada Mon Jan  1 00:00:00 2026\r\nSubject: mbox\r\n\r\nFrom the start\r\n",
    "high-bytes": b"Subject: \xe4\r\n\r\n\xff\xfe\x80\r\n",
    "nul": b"Subject: nul\r\n\r\na\0b\r\n",
    "empty-lines": b"Subject: empty\r\n\r\n\r\n\r\n\r\n",
    "bare-lf": b"Subject: lf\r\n\r\na\nb\r\n",
    "bare-cr": b"Subject: cr\r\n\r\na\rb\r\n",
    "folded": b"Subject: one\r\n two\r\n\tthree\r\nX-A : spaced\r\n\r\nbody\r\n",
    "received": b"Received: from a by b; Mon, 1 Jan 2026 00:00:00 +0000\r\nReturn-Path: <x@y>\r\nBcc: z@y\r\n\r\nb\r\n",
}


def corpus() -> dict[str, bytes]:
    """CPython's own test messages as SMTP would carry them, and those made for a corner of their own."""
    found = dict(MADE)
    spec = importlib.util.find_spec("test")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted((Path(place) / "test_email" / "data").glob("msg_*.txt")):
            lines = path.read_bytes().replace(b"\r\n", b"\n").split(b"\n")
            found[path.stem] = b"\r\n".join(lines[:-1] if lines[-1] == b"" else lines) + b"\r\n"
    return found


def stuffed(content: bytes) -> bytes:
    content = content.replace(b"\r\n.", b"\r\n..")
    return b"." + content if content.startswith(b".") else content


def send(port: int, name: str, content: bytes) -> bytes:
    """By hand: a library would mend what we want to see arrive."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock, sock.makefile("rwb") as stream:

        def say(line: bytes) -> bytes:
            stream.write(line)
            stream.flush()
            return reply()

        def reply() -> bytes:
            while (line := stream.readline())[3:4] == b"-":
                pass
            return line

        reply()
        say(b"EHLO client.example\r\n")
        assert say(b"MAIL FROM:<ada@client.example> BODY=8BITMIME\r\n").startswith(b"250")
        assert say(f"RCPT TO:<{name}@sink.example>\r\n".encode()).startswith(b"250")
        assert say(b"DATA\r\n").startswith(b"354")
        answer = say(stuffed(content) + b".\r\n")
        say(b"QUIT\r\n")
        return answer


def collect(sink: Sink) -> dict[str, bytes]:
    return {recipients[0].partition("@")[0]: content for _, recipients, content in list(sink.messages)}


def split(content: bytes) -> tuple[list[str], bytes]:
    head, _, body = content.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0].decode("latin-1") for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    return names, body


def test_corpus_arrives_as_from_real_postfix(tmp_path: Path) -> None:
    sinks = Sink(), Sink()
    (tmp_path / "us").mkdir()
    extra = {"smtpd_forbid_bare_newline": "normalize"}
    postfix = RealPostfix(tmp_path, sinks[1].port)
    gateway = Gateway(tmp_path / "us", sinks[0].port, **extra)
    messages = corpus()
    try:
        gateway.start()
        postfix.start()
        answers = {name: (send(gateway.port, name, m), send(postfix.port, name, m)) for name, m in messages.items()}
        accepted = {name for name, both in answers.items() if both[1].startswith(b"250")}
        assert {n for n, b in answers.items() if b[0].startswith(b"250")} == accepted
        until(lambda: len(sinks[0].messages) >= len(accepted), 60, "ours")
        until(lambda: len(sinks[1].messages) >= len(accepted), 60, "Postfix's")
    finally:
        gateway.abort()
        postfix.stop()
        for sink in sinks:
            sink.close()
    ours, theirs = collect(sinks[0]), collect(sinks[1])
    different = [name for name in sorted(accepted) if split(ours[name]) != split(theirs[name])]
    for name in different[:10]:
        print(name, split(ours[name])[0], split(theirs[name])[0])
        print(repr(split(ours[name])[1][:300]), repr(split(theirs[name])[1][:300]), sep="\n")
    assert not different
