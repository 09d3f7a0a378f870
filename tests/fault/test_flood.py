"""Mail comes in many times as fast as it goes out: memory stays bounded, nothing is lost, nothing comes twice."""

import asyncio
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.interop.test_large import status
from tests.realpostfix import needs_postfix
from tests.whole import Gateway, running, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

MIB = 1 << 20
MESSAGES, SENDERS, SIZE = 12_000, 2, 3000


class SlowSink:
    """Takes `rate` messages a second and knows each by the queue id that the gateway gave it."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.ids: Counter[bytes] = Counter()
        self.next = 0.0
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._up.wait(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        server = self.loop.run_until_complete(self.loop.create_server(lambda: _Session(self), "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        self.loop.run_forever()
        server.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def turn(self) -> float:
        """Seconds until the next message may be answered."""
        now = self.loop.time()
        self.next = max(now, self.next + 1 / self.rate)
        return self.next - now


class _Session(asyncio.Protocol):
    def __init__(self, sink: SlowSink) -> None:
        self.sink = sink
        self.buffer = b""
        self.in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"220 slow.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self._step():
            pass

    def _step(self) -> bool:
        end = b"\r\n.\r\n" if self.in_data else b"\r\n"
        found, mark, rest = self.buffer.partition(end)
        if not mark:
            return False
        self.buffer = rest
        if self.in_data:
            self.in_data = False
            self.sink.ids[found.partition(b" id ")[2].partition(b"\r\n")[0]] += 1
            self.sink.loop.call_later(self.sink.turn(), self.transport.write, b"250 2.0.0 Ok\r\n")
        elif found.upper().startswith(b"DATA"):
            self.in_data = True
            self.transport.write(b"354 go\r\n")
        elif found.upper().startswith(b"EHLO"):
            self.transport.write(b"250-slow.example\r\n250 PIPELINING\r\n")
        else:
            self.transport.write(b"250 2.0.0 Ok\r\n")
        return True


def sizes(gateway: Gateway, name: str) -> dict[str, int]:
    return {
        f"{role}-{pid}": status(pid, name) for role in ("receiver", "courier", "carrier") for pid in gateway.pids(role)
    }


def test_much_comes_in_and_little_goes_out(tmp_path: Path) -> None:
    sink = SlowSink(100)
    with running(Gateway(tmp_path, sink.port)) as gateway:
        before = sizes(gateway, "VmRSS")
        begun = time.monotonic()
        words = [
            "smtp-source",
            "-d",
            "-s",
            "10",
            "-l",
            str(SIZE),
            "-m",
            str(MESSAGES // SENDERS),
            "-t",
            "r@sink.example",
        ]
        senders = [
            subprocess.Popen([*words, f"inet:127.0.0.1:{gateway.port}"], stderr=subprocess.PIPE) for _ in range(SENDERS)
        ]
        for sender in senders:
            _, complaints = sender.communicate(timeout=100)
            assert (sender.returncode, complaints) == (0, b"")
        took = time.monotonic() - begun
        delivered = sink.ids.total()
        peak = sizes(gateway, "VmHWM")
        grown = {name: (peak[name] - size) // MIB for name, size in before.items()}
        print(f"in: {MESSAGES / took:.0f}/s, out meanwhile: {delivered / took:.0f}/s, grown, MiB: {grown}")
        sink.rate = 100_000
        until(lambda: len(sink.ids) >= MESSAGES, 90, gateway.log()[-2000:])
        until(lambda: gateway.log().count(": removed") >= MESSAGES)
        peak = sizes(gateway, "VmHWM")
        grown = {name: (peak[name] - size) // MIB for name, size in before.items()}
        print(f"all in {time.monotonic() - begun:.0f} s, grown, MiB: {grown}")
    sink.close()
    assert sink.ids.total() == len(sink.ids) == MESSAGES
    assert delivered < MESSAGES * 0.8, "the sink was not slower than the senders: nothing was tested"
    assert all(value < 48 for value in grown.values()), grown
