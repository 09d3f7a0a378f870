"""PostgreSQL's client library: one connection, one query at a time."""

import ctypes
import select
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from postwarden.tables.remote.library import decoded, encoded, load
from postwarden.tables.remote.servers import ServerError

_NAMES = ("libpq.so.5",)
_PACKAGE = "libpq5"

_COMMAND_OK, _TUPLES_OK = 1, 2
_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_NOTICE = ctypes.CFUNCTYPE(None, _POINTER, _POINTER)


class PgsqlClient:
    """`quoted` and `rows` raise ServerError."""

    def __init__(self, parameters: Mapping[str, str], query_seconds: float) -> None:
        """Connects. `parameters` are those of a connection string; a `dbname` may be one itself. Raises ServerError."""
        self._library = library()
        self._seconds = query_seconds
        names = [encoded(name) for name, value in parameters.items() if value]
        values = [encoded(value) for value in parameters.values() if value]
        array = _TEXT * (len(names) + 1)
        self._handle = self._library.PQconnectdbParams(array(*names, None), array(*values, None), 1)
        if not self._handle:
            raise ServerError("out of memory")
        if self._library.PQstatus(self._handle):
            text = self._error()
            self.close()
            raise ServerError(f"connect: {text}")
        # Else the library writes what a server tells us to standard error.
        self._library.PQsetNoticeReceiver(self._handle, _silence(), None)

    def quoted(self, text: str) -> str:
        data, fault = encoded(text), _INT()
        buffer = ctypes.create_string_buffer(2 * len(data) + 1)
        size = self._library.PQescapeStringConn(self._handle, buffer, data, len(data), ctypes.byref(fault))
        if fault.value:
            raise ServerError(f"the key can't be quoted: {self._error()}")
        return decoded(buffer.raw[:size])

    def rows(self, query: str) -> list[tuple[bytes | None, ...]]:
        """Of the last statement, if there are several."""
        if not self._library.PQsendQuery(self._handle, encoded(query)):
            raise ServerError(f"query failed: {self._error()}")
        deadline = time.monotonic() + self._seconds
        rows: list[tuple[bytes | None, ...]] = []
        while result := self._next(deadline):
            try:
                rows = self._read(result)
            finally:
                self._library.PQclear(result)
        return rows

    def _next(self, deadline: float) -> Any:
        """The next result, or None. The library itself would wait for ever."""
        waiter = select.poll()
        waiter.register(self._library.PQsocket(self._handle), select.POLLIN)
        while self._library.PQisBusy(self._handle):
            left = deadline - time.monotonic()
            if left <= 0 or not waiter.poll(left * 1000):
                raise ServerError("query failed: timed out", late=True)
            if not self._library.PQconsumeInput(self._handle):
                raise ServerError(f"query failed: {self._error()}")
        return self._library.PQgetResult(self._handle)

    def _read(self, result: int) -> list[tuple[bytes | None, ...]]:
        status = self._library.PQresultStatus(result)
        if status == _COMMAND_OK:
            return []
        if status != _TUPLES_OK:
            text = _clean(self._library.PQresultErrorMessage(result))
            raise ServerError(f"query failed: {text or f'unexpected kind of result: {status}'}")
        columns = range(self._library.PQnfields(result))
        return [tuple(self._cell(result, row, column) for column in columns) for row in range(self._height(result))]

    def _height(self, result: int) -> int:
        return int(self._library.PQntuples(result))

    def _cell(self, result: int, row: int, column: int) -> bytes | None:
        if self._library.PQgetisnull(result, row, column):
            return None
        size = self._library.PQgetlength(result, row, column)
        return ctypes.string_at(self._library.PQgetvalue(result, row, column), size)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle:
            self._library.PQfinish(handle)

    def _error(self) -> str:
        return _clean(self._library.PQerrorMessage(self._handle))


@cache
def library() -> Any:
    """Raises LibraryMissing."""
    size = ctypes.c_size_t
    cell = [_POINTER, _INT, _INT]
    return load(_NAMES, _PACKAGE, {
        "PQconnectdbParams": (_POINTER, [_POINTER, _POINTER, _INT]),
        "PQstatus": (_INT, [_POINTER]),
        "PQsocket": (_INT, [_POINTER]),
        "PQerrorMessage": (_TEXT, [_POINTER]),
        "PQsetNoticeReceiver": (_POINTER, [_POINTER, _NOTICE, _POINTER]),
        "PQescapeStringConn": (size, [_POINTER, _POINTER, _TEXT, size, _POINTER]),
        "PQsendQuery": (_INT, [_POINTER, _TEXT]),
        "PQconsumeInput": (_INT, [_POINTER]),
        "PQisBusy": (_INT, [_POINTER]),
        "PQgetResult": (_POINTER, [_POINTER]),
        "PQresultStatus": (_INT, [_POINTER]),
        "PQresultErrorMessage": (_TEXT, [_POINTER]),
        "PQntuples": (_INT, [_POINTER]),
        "PQnfields": (_INT, [_POINTER]),
        "PQgetisnull": (_INT, cell),
        "PQgetlength": (_INT, cell),
        "PQgetvalue": (_POINTER, cell),
        "PQclear": (None, [_POINTER]),
        "PQfinish": (None, [_POINTER]),
    })  # fmt: skip


@cache
def _silence() -> Any:
    return _NOTICE(lambda argument, result: None)


def _clean(text: bytes | None) -> str:
    return " ".join((text or b"").decode(errors="replace").split())
