"""Big messages: whole, and without the roles growing by their size."""

import hashlib
import smtplib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.whole import Gateway, Sink, running, until

pytestmark = pytest.mark.slow

ROLES = ("receiver", "courier", "carrier")
MIB = 1 << 20


class SlowSink:
    """A remote that reads one message no faster than it is told, and keeps only its digest."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.digest = ""
        self.octets = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        # Small: what waits is to wait in the gateway.
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        sock, _ = self._server.accept()
        with sock, sock.makefile("rwb") as stream:
            stream.write(b"220 slow.example ESMTP\r\n")
            stream.flush()
            while line := stream.readline():
                answer = b"250 2.0.0 Ok\r\n"
                if line.startswith(b"DATA"):
                    stream.write(b"354 go\r\n")
                    stream.flush()
                    self.go.wait(60)
                    self._read(stream)
                elif line.startswith(b"QUIT"):
                    return
                stream.write(answer)
                stream.flush()

    def _read(self, stream: "object") -> None:
        digest, readline = hashlib.sha256(), stream.readline  # type: ignore[attr-defined]
        in_body = False
        while (line := readline()) not in (b".\r\n", b""):
            if in_body:
                digest.update(line)
                self.octets += len(line)
            in_body = in_body or line == b"\r\n"
        self.digest = digest.hexdigest()


def memory(gateway: Gateway) -> dict[int, int]:
    """Private octets of each process of the roles that see mail."""
    found = {}
    for role in ROLES:
        for pid in gateway.pids(role):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
            found[pid] = sizes["Private_Dirty"] + sizes["Private_Clean"]
    return found


def peak(gateway: Gateway) -> dict[int, int]:
    """The most that each process ever had resident (VmHWM)."""
    return {pid: status(pid, "VmHWM") for role in ROLES for pid in gateway.pids(role)}


def status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name}")


def body_of(size: int) -> bytes:
    return (b"0123456789abcdef" * 4 + b"\r\n") * (size // 66)


@pytest.fixture
def sink() -> Iterator[SlowSink]:
    made = SlowSink()
    yield made
    made.close()


def test_twenty_mebibytes_to_a_slow_remote(tmp_path: Path, sink: SlowSink) -> None:
    body = body_of(20 * MIB)
    with running(Gateway(tmp_path, sink.port, message_size_limit="50000000")) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
            client.sendmail("a@client.example", ["r@sink.example"], "Subject: warm\r\n\r\nx\r\n")
            sink.go.set()
            until(lambda: gateway.log().count(": removed") == 1)
            sink.go.clear()
            sink.octets = 0
            before, high = memory(gateway), peak(gateway)
            client.sendmail("a@client.example", ["r@sink.example"], b"Subject: big\r\n\r\n" + body)
        until(lambda: "status=sent" in gateway.log())
        during = memory(gateway)
        sink.go.set()
        until(lambda: gateway.log().count(": removed") == 2, 60, gateway.log()[-2000:])
        after = peak(gateway)
    growth = {pid: (during[pid] - before[pid], after[pid] - high[pid]) for pid in before}
    assert sink.octets == len(body) and sink.digest == hashlib.sha256(body).hexdigest()
    assert all(max(grown) < 8 * MIB for grown in growth.values()), growth


def test_many_of_one_mebibyte_at_once(tmp_path: Path) -> None:
    """20 sessions, 60 messages: what the receivers hold is their 64 MiB for what is not yet durable, at most."""
    sink = Sink()
    body = body_of(MIB)
    failures: list[str] = []

    def client(number: int) -> None:
        try:
            with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as session:
                for n in range(3):
                    content = f"Subject: {number} {n}\r\n\r\n".encode() + body
                    session.sendmail("a@client.example", ["r@sink.example"], content)
        except (OSError, smtplib.SMTPException) as error:
            failures.append(repr(error))

    with running(Gateway(tmp_path, sink.port)) as gateway:
        high = peak(gateway)
        threads = [threading.Thread(target=client, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        until(lambda: len(sink.messages) == 60, 60, gateway.log()[-2000:])
        grown = {pid: value - high[pid] for pid, value in peak(gateway).items()}
    sink.close()
    assert failures == []
    assert {content.partition(b"\r\n\r\n")[2] for _, _, content in sink.messages} == {body}
    assert all(value < 80 * MIB for value in grown.values()), grown


def test_a_message_that_is_too_large_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with running(Gateway(tmp_path, 9, message_size_limit="1000000")) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
            client.ehlo()
            assert client.esmtp_features["size"] == "1000000"
            assert client.mail("a@client.example", ["SIZE=2000000"])[0] == 552
            client.mail("a@client.example")
            client.rcpt("r@sink.example")
            code, text = client.data(b"Subject: x\r\n\r\n" + body_of(3 * MIB))
            assert (code, text) == (552, b"5.3.4 Error: message file too big")
            client.mail("a@client.example")
            client.rcpt("r@sink.example")
            client.putcmd("BDAT 2000000")
            client.send(b"x" * 2_000_000)
            assert client.getreply()[0] == 552
            client.quit()
        bodies = [p for p in gateway.queue.rglob("*") if p.is_file() and p.stat().st_size in range(900_000, 4_000_000)]
        assert [path.name for path in bodies if "queue.db" not in path.name] == []
