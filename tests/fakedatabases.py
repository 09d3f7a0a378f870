"""Little servers that speak just enough of PostgreSQL's, MySQL's and LDAP's protocols, and can misbehave."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

Row = tuple[bytes | None, ...]
Answer = Callable[[bytes], bytes]
"""What goes over the wire for a query."""


class FakeServer:
    """`talk` has each connection to itself, and may raise anything."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError, struct.error), connection:
            connection.settimeout(20)
            self._talk(connection)

    def close(self) -> None:
        # A thread in accept() keeps the socket open; shutdown wakes it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


# PostgreSQL: https://www.postgresql.org/docs/15/protocol-message-formats.html


def pg(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(payload) + 4) + payload


PG_READY = pg(b"Z", b"I")


def pg_rows(*rows: Row) -> bytes:
    width = len(rows[0]) if rows else 1
    columns = b"".join(b"c\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0) for _ in range(width))
    data = pg(b"T", struct.pack("!h", width) + columns)
    for row in rows:
        cells = b"".join(struct.pack("!i", -1) if cell is None else struct.pack("!i", len(cell)) + cell for cell in row)
        data += pg(b"D", struct.pack("!h", width) + cells)
    return data + pg(b"C", b"SELECT\0") + PG_READY


def pg_error(text: bytes, severity: bytes = b"ERROR") -> bytes:
    return pg(b"E", b"S" + severity + b"\0C42601\0M" + text + b"\0\0") + PG_READY


def postgres(answer: Answer) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        while True:
            size, code = struct.unpack("!ii", exactly(connection, 8))
            exactly(connection, size - 8)
            if code == 196608:
                break
            connection.sendall(b"N")  # no TLS, no GSSAPI
        settings = {b"server_version": b"15.0", b"client_encoding": b"UTF8", b"standard_conforming_strings": b"on"}
        known = b"".join(pg(b"S", name + b"\0" + value + b"\0") for name, value in settings.items())
        connection.sendall(pg(b"R", struct.pack("!i", 0)) + known + PG_READY)
        while exactly(connection, 1) == b"Q":
            (size,) = struct.unpack("!i", exactly(connection, 4))
            connection.sendall(answer(exactly(connection, size - 4).rstrip(b"\0")))

    return talk


# MySQL: https://mariadb.com/kb/en/clientserver-protocol/


def my(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number & 255]) + payload


def _text(data: bytes | None) -> bytes:
    if data is None:
        return b"\xfb"
    return (bytes([len(data)]) if len(data) < 251 else b"\xfc" + struct.pack("<H", len(data))) + data


def my_ok(number: int = 1) -> bytes:
    return my(number, b"\0\0\0\2\0\0\0")


def my_error(text: bytes, number: int = 1) -> bytes:
    return my(number, b"\xff" + struct.pack("<H", 1064) + b"#42000" + text)


def my_rows(*rows: Row) -> bytes:
    width = len(rows[0])
    column = (
        b"".join(map(_text, (b"def", b"", b"", b"", b"c", b""))) + b"\x0c" + struct.pack("<HIBHB", 45, 99, 253, 0, 0)
    )
    parts = [bytes([width]), *([column + b"\0\0"] * width), b"\xfe\0\0\2\0"]
    parts += [b"".join(map(_text, row)) for row in rows] + [b"\xfe\0\0\2\0"]
    return b"".join(my(number, part) for number, part in enumerate(parts, 1))


def mysql(answer: Answer) -> Callable[[socket.socket], None]:
    def packet(connection: socket.socket) -> bytes:
        head = exactly(connection, 4)
        return exactly(connection, int.from_bytes(head[:3], "little"))

    def talk(connection: socket.socket) -> None:
        can = 0x1 | 0x8 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x20000 | 0x80000
        hello = (
            b"\x0a8.0.0\0" + struct.pack("<I", 1) + b"saltsalt\0" + struct.pack("<HBHH", can & 65535, 45, 2, can >> 16)
        )
        connection.sendall(my(0, hello + b"\x15" + bytes(10) + b"saltsaltsalt\0mysql_native_password\0"))
        packet(connection)
        connection.sendall(my_ok(2))
        while (command := packet(connection))[:1] == b"\x03":
            connection.sendall(answer(command[1:]))

    return talk


# LDAP: RFC 4511


def ber(tag: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    size = bytes([len(data)]) if len(data) < 128 else b"\x82" + struct.pack("!H", len(data))
    return bytes([tag]) + size + data


def ldap_result(tag: int, code: int = 0, text: bytes = b"") -> bytes:
    return ber(tag, ber(10, bytes([code])), ber(4), ber(4, text))


def ldap_entry(name: bytes, **attributes: list[bytes]) -> bytes:
    parts = [
        ber(0x30, ber(4, kind.encode()), ber(0x31, *(ber(4, value) for value in values)))
        for kind, values in attributes.items()
    ]
    return ber(0x64, ber(4, name), ber(0x30, *parts))


def ldap(answer: Callable[[bytes], list[bytes]]) -> Callable[[socket.socket], None]:
    """`answer`: the operations that answer a search, whose bytes it gets."""

    def talk(connection: socket.socket) -> None:
        while True:
            size = exactly(connection, 2)[1]
            if size > 128:
                size = int.from_bytes(exactly(connection, size - 128), "big")
            message = exactly(connection, size)
            number, operation = message[: 2 + message[1]], message[2 + message[1] :]
            if operation[0] == 0x60:
                connection.sendall(ber(0x30, number, ldap_result(0x61)))
            elif operation[0] == 0x63:
                connection.sendall(b"".join(ber(0x30, number, part) for part in answer(operation)))
            else:
                return

    return talk
