"""A channel: records over one stream socket, in order, with file descriptors.

A frame is its length (4 bytes, big-endian), the number of descriptors that come with it (1 byte), and a msgpack
record. Descriptors travel as SCM_RIGHTS with the first byte of their frame; the kernel never lets a read run past
them, so they are taken in order. Both ends first say `ipc.records.VERSION`.

Frames written during one turn of the loop leave in one `send`. A record that does not decode, a frame over
`MAX_FRAME` and another version end the channel: a peer role that talks nonsense is broken or owned.
"""

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from postwarden.ipc.records import VERSION

R = TypeVar("R")

MAX_FRAME = 64 << 20
_LOOK = 1.0
"""Seconds."""
_READ = 256 << 10
_MAX_FDS = 250  # the kernel's SCM_MAX_FD is 253
_ANCILLARY = socket.CMSG_SPACE(_MAX_FDS * 4)
HELLO = b"PW%02x" % VERSION
"""What either end says first."""
_encode = msgspec.msgpack.Encoder().encode


class ChannelError(Exception):
    """The other end broke the rules of the channel. The channel is closed."""


class Decoder(Generic[R]):
    """Bytes and descriptors in, records out; no I/O. `feed` raises ChannelError."""

    def __init__(self, kind: Any, *, limit: int = MAX_FRAME) -> None:
        """`limit`: bytes of one frame."""
        self._decode: Callable[[bytes | memoryview], R] = msgspec.msgpack.Decoder(kind).decode
        self._limit = limit
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self._greeted = False

    def feed(self, data: bytes | bytearray | memoryview, fds: Sequence[int] = ()) -> list[tuple[R, list[int]]]:
        """`data` may be a view of a buffer that is used again: nothing keeps it."""
        self._fds.extend(fds)
        kept = self._buffer
        if kept:
            kept += data
            self._buffer = bytearray()
            data = kept
        with memoryview(data) as view:
            records, at = self._split(view)
            if at < len(view):
                self._buffer += view[at:]
        if self._fds and self._undeclared():
            for _, taken in records:
                for fd in taken:
                    os.close(fd)
            raise ChannelError("descriptors that no record names")
        return records

    def _undeclared(self) -> bool:
        """Descriptors belong to the frame that is not whole yet, and it says how many. A peer that sends them with
        frames that name none would fill our table with them."""
        rest = self._buffer
        allowed = rest[4] if self._greeted and len(rest) > 4 else _MAX_FDS if rest else 0
        return len(self._fds) > allowed

    def _split(self, view: memoryview) -> tuple[list[tuple[R, list[int]]], int]:
        """The whole records at the front, and where they end."""
        records: list[tuple[R, list[int]]] = []
        at, have = 0, len(view)
        if not self._greeted:
            if have < len(HELLO):
                return records, 0
            if view[: len(HELLO)] != HELLO:
                raise ChannelError("the other end speaks another version")
            self._greeted, at = True, len(HELLO)
        while have - at >= 5:
            length = int.from_bytes(view[at : at + 4])
            if length > self._limit:
                raise ChannelError(f"frame of {length} bytes")
            if have - at - 5 < length:
                break
            records.append(self._record(view[at + 5 : at + 5 + length], view[at + 4]))
            at += 5 + length
        return records, at

    def _record(self, payload: memoryview, count: int) -> tuple[R, list[int]]:
        if count > len(self._fds):
            raise ChannelError("a descriptor did not arrive")
        with payload:
            try:
                record = self._decode(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:  # msgspec raises all three
                raise ChannelError(f"record: {error}") from error
        return record, [self._fds.popleft() for _ in range(count)]

    def close(self) -> None:
        """Close descriptors that nobody took."""
        while self._fds:
            os.close(self._fds.popleft())


def frame(record: Any, fds: int = 0) -> bytes:
    payload = _encode(record)
    return len(payload).to_bytes(4) + bytes((fds,)) + payload


class Channel(Generic[R]):
    """One end, on an asyncio loop. `on_record(record, fds)` owns the descriptors; `on_close(error)` comes once."""

    def __init__(
        self,
        sock: socket.socket,
        kind: Any,
        on_record: Callable[[R, list[int]], None],
        on_close: Callable[[Exception | None], None],
    ) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._decoder: Decoder[R] = Decoder(kind)
        self._on_record = on_record
        self._on_close = on_close
        self._out: deque[tuple[bytes, tuple[int, ...]]] = deque([(HELLO, ())])
        self._flushing = False
        self._writable = True
        self._open = True
        self._deaf = False
        # One buffer for all reads: a fresh one of this size costs the kernel two maps and a page fault for each page.
        self._room_to_read = memoryview(bytearray(_READ))
        self.waiting = len(HELLO)
        """Bytes written and not yet taken by the kernel: what a sender looks at to hold back."""
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)
        self._look = self._loop.call_later(_LOOK, self._look_again)
        self._schedule()

    def send(self, record: Any, fds: Sequence[int] = ()) -> None:
        """Queue a record; `fds` are duplicated by the kernel and closed here. Without effect on a closed channel."""
        if not self._open or self._deaf:
            for fd in fds:
                os.close(fd)
            return
        data = frame(record, len(fds))
        self.waiting += len(data)
        self._out.append((data, tuple(fds)))
        self._schedule()

    def close(self) -> None:
        self._end(None)

    def _schedule(self) -> None:
        if self._writable and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        while self._out and self._open:
            data, fds = self._gather()
            try:
                sent = self._write(data, fds)
            except OSError as error:
                self._out.appendleft((data, fds))
                self._refused(error)
                return
            self.waiting -= sent
            if sent < len(data):
                self._out.appendleft((data[sent:], () if sent else fds))
                if sent == 0:
                    self._await_room()
                    return

    def _refused(self, error: OSError) -> None:
        if isinstance(error, (BrokenPipeError, ConnectionResetError)):
            # The other end has gone. What it said before can still be read, and then its end: an outcome that is not
            # heard is a delivery that is made twice.
            self._deaf = True
            self._drop()
        else:
            self._end(error)

    def _drop(self) -> None:
        for _, fds in self._out:
            for fd in fds:
                os.close(fd)
        self._out.clear()
        self.waiting = 0

    def _gather(self) -> tuple[bytes, tuple[int, ...]]:
        """The next frames that can leave in one call: one with descriptors leads, none with them follows."""
        out = self._out
        data, fds = out.popleft()
        if out and not out[0][1]:
            parts, size = [data], len(data)
            while out and not out[0][1] and size < _READ:
                parts.append(out.popleft()[0])
                size += len(parts[-1])
            data = b"".join(parts)
        return data, fds

    def _write(self, data: bytes, fds: tuple[int, ...]) -> int:
        try:
            if not fds:
                return self._sock.send(data)
            sent = socket.send_fds(self._sock, [data], fds)
        except BlockingIOError:
            return 0
        for fd in fds:
            os.close(fd)
        return sent

    def _await_room(self) -> None:
        if self._writable:
            self._writable = False
            self._loop.add_writer(self._sock.fileno(), self._room)

    def _room(self) -> None:
        self._writable = True
        self._loop.remove_writer(self._sock.fileno())
        self._flush()

    def _look_again(self) -> None:
        """An end that dies with bytes of ours unread leaves an error on the socket (POLLERR), and libuv stops to watch
        such a socket without a word to us: the loop alone would never tell that our master, or the courier, is gone."""
        self._look = self._loop.call_later(_LOOK, self._look_again)
        self._readable()

    def _readable(self) -> None:
        try:
            size, ancillary, _, _ = self._sock.recvmsg_into([self._room_to_read], _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if not size:
            self._end(None)
            return
        try:
            view = self._room_to_read[:size]
            records = self._decoder.feed(view, descriptors(ancillary) if ancillary else ())
        except ChannelError as error:
            self._end(error)
            return
        for record, fds in records:
            self._hear(record, fds)

    def _hear(self, record: R, fds: list[int]) -> None:
        if not self._open:
            for fd in fds:
                os.close(fd)
            return
        try:
            self._on_record(record, fds)
        except Exception as error:
            # A bug with one record must not cost those that came in the same read.
            self._loop.call_exception_handler(
                {"message": f"{type(record).__name__} from a channel", "exception": error}
            )

    def _end(self, error: Exception | None) -> None:
        if not self._open:
            return
        self._open = False
        self._look.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._decoder.close()
        self._drop()
        self._on_close(error)


class BlockingChannel(Generic[R]):
    """One end without a loop, for the agent's supervisor: `receive` blocks, `send` blocks."""

    def __init__(self, sock: socket.socket, kind: Any) -> None:
        self._sock = sock
        self._decoder: Decoder[R] = Decoder(kind)
        sock.setblocking(True)
        sock.sendall(HELLO)

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, record: Any, fds: Sequence[int] = ()) -> None:
        """`fds` are duplicated by the kernel; they stay the caller's."""
        data = frame(record, len(fds))
        sent = socket.send_fds(self._sock, [data], list(fds)) if fds else 0
        self._sock.sendall(memoryview(data)[sent:])

    def close(self) -> None:
        self._sock.close()
        self._decoder.close()

    def receive(self) -> list[tuple[R, list[int]]] | None:
        """What one read brings, perhaps nothing whole yet; None when the other end has closed."""
        data, ancillary, _, _ = self._sock.recvmsg(_READ, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return None
        return self._decoder.feed(data, descriptors(ancillary))


def descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The file descriptors in what `recvmsg` returned beside the data."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()
