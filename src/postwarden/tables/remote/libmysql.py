"""MariaDB's client library, which talks to MySQL too: one connection, one query at a time."""

import ctypes
import time
from functools import cache
from typing import Any

from msgspec import Struct

from postwarden.tables.remote.library import decoded, encoded, load
from postwarden.tables.remote.servers import Host, ServerError

_NAMES = ("libmariadb.so.3",)
_PACKAGE = "libmariadb3"

_CONNECT_TIMEOUT, _READ_DEFAULT_FILE, _READ_DEFAULT_GROUP, _CHARSET_NAME, _LOCAL_INFILE = 0, 4, 5, 7, 8
_READ_TIMEOUT, _WRITE_TIMEOUT, _VERIFY_SERVER_CERT = 11, 12, 21
_MULTI_RESULTS = 1 << 17
_POINTER, _TEXT, _INT, _UINT, _ULONG = (
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_ulong,
)  # fmt: skip


class Account(Struct, frozen=True, kw_only=True):
    """What a table says about how to connect. An empty text is not told to the library."""

    user: str = ""
    password: str = ""
    database: str = ""
    option_file: str = ""
    option_group: str = ""
    charset: str = ""
    key: str = ""
    certificate: str = ""
    ca_file: str = ""
    ca_path: str = ""
    ciphers: str = ""
    verify: bool | None = None
    """Of the server's certificate; None: as the library and the option file have it."""
    require_result_set: bool = True
    connect_seconds: int = 5
    query_seconds: int = 10

    @property
    def tls(self) -> bool:
        return bool(self.key or self.certificate or self.ca_file or self.ca_path or self.ciphers)


class MysqlClient:
    """`quoted` and `rows` raise ServerError."""

    def __init__(self, account: Account, host: Host) -> None:
        """Connects. Raises ServerError."""
        self._library = library()
        self._account = account
        self._handle = self._library.mysql_init(None)
        if not self._handle:
            raise ServerError("out of memory")
        self._set_options(account)
        connected = self._library.mysql_real_connect(
            self._handle,
            None if host.local else _given(host.address),
            _given(account.user),
            _given(account.password),
            _given(account.database),
            int(host.port or 0),
            encoded(host.address) if host.local else None,
            _MULTI_RESULTS,
        )
        if not connected:
            text = self._error()
            self.close()
            raise ServerError(f"connect: {text}")

    def _set_options(self, account: Account) -> None:
        self._number(_CONNECT_TIMEOUT, account.connect_seconds)
        self._number(_READ_TIMEOUT, account.query_seconds)
        self._number(_WRITE_TIMEOUT, account.query_seconds)
        # A server, or who plays one, could ask for any file that we may read.
        self._number(_LOCAL_INFILE, 0)
        for option, text in (
            (_CHARSET_NAME, account.charset),
            (_READ_DEFAULT_FILE, account.option_file),
            (_READ_DEFAULT_GROUP, account.option_group),
        ):
            if text:
                self._library.mysql_options(self._handle, option, ctypes.c_char_p(encoded(text)))
        if account.tls:
            names = (account.key, account.certificate, account.ca_file, account.ca_path, account.ciphers)
            self._library.mysql_ssl_set(self._handle, *map(_given, names))
        if account.verify is not None:
            flag = ctypes.c_char(account.verify)
            self._library.mysql_options(self._handle, _VERIFY_SERVER_CERT, ctypes.byref(flag))

    def quoted(self, text: str) -> str:
        data = encoded(text)
        buffer = ctypes.create_string_buffer(2 * len(data) + 1)
        size = self._library.mysql_real_escape_string(self._handle, buffer, data, len(data))
        if size > 2 * len(data):
            raise ServerError("the key can't be quoted in the connection's character set")
        return decoded(buffer.raw[:size])

    def rows(self, query: str) -> list[tuple[bytes | None, ...]]:
        data, began = encoded(query), time.monotonic()
        if self._library.mysql_real_query(self._handle, data, len(data)):
            late = time.monotonic() - began >= self._account.query_seconds
            raise ServerError(f"query failed: {self._error()}", late=late)
        results = self._results()
        if len(results) > 1:
            raise ServerError("query failed: multiple result sets returning data are not supported")
        if not results and self._account.require_result_set:
            raise ServerError("query failed: query returned no result set (require_result_set = yes)")
        return results[0] if results else []

    def _results(self) -> list[list[tuple[bytes | None, ...]]]:
        """All of them: what is left unread would be the answer to the next query."""
        results = []
        while True:
            result = self._library.mysql_store_result(self._handle)
            if result:
                results.append(self._read(result))
            elif self._library.mysql_field_count(self._handle):
                raise ServerError(f"query failed (mysql_store_result): {self._error()}")
            more = self._library.mysql_next_result(self._handle)
            if more > 0:
                raise ServerError(f"query failed (mysql_next_result): {self._error()}")
            if more < 0:
                return results

    def _read(self, result: int) -> list[tuple[bytes | None, ...]]:
        count = self._library.mysql_num_fields(result)
        rows = []
        while row := self._library.mysql_fetch_row(result):
            sizes = self._library.mysql_fetch_lengths(result)
            rows.append(tuple(ctypes.string_at(row[i], sizes[i]) if row[i] else None for i in range(count)))
        self._library.mysql_free_result(result)
        return rows

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle:
            self._library.mysql_close(handle)

    def _number(self, option: int, value: int) -> None:
        self._library.mysql_options(self._handle, option, ctypes.byref(ctypes.c_uint(value)))

    def _error(self) -> str:
        text: bytes = self._library.mysql_error(self._handle)
        return text.decode(errors="replace")


@cache
def library() -> Any:
    """Raises LibraryMissing."""
    found = load(_NAMES, _PACKAGE, {
        "mysql_server_init": (_INT, [_INT, _POINTER, _POINTER]),
        "mysql_init": (_POINTER, [_POINTER]),
        "mysql_options": (_INT, [_POINTER, _INT, _POINTER]),
        "mysql_ssl_set": (ctypes.c_byte, [_POINTER] + [_TEXT] * 5),
        "mysql_real_connect": (_POINTER, [_POINTER] + [_TEXT] * 4 + [_UINT, _TEXT, _ULONG]),
        "mysql_real_query": (_INT, [_POINTER, _TEXT, _ULONG]),
        "mysql_real_escape_string": (_ULONG, [_POINTER, _POINTER, _TEXT, _ULONG]),
        "mysql_store_result": (_POINTER, [_POINTER]),
        "mysql_next_result": (_INT, [_POINTER]),
        "mysql_field_count": (_UINT, [_POINTER]),
        "mysql_num_fields": (_UINT, [_POINTER]),
        "mysql_fetch_row": (ctypes.POINTER(_POINTER), [_POINTER]),
        "mysql_fetch_lengths": (ctypes.POINTER(_ULONG), [_POINTER]),
        "mysql_free_result": (None, [_POINTER]),
        "mysql_error": (_TEXT, [_POINTER]),
        "mysql_close": (None, [_POINTER]),
    })  # fmt: skip
    found.mysql_server_init(0, None, None)  # mysql_init does it as well, but not from several threads at once
    return found


def _given(text: str) -> bytes | None:
    return encoded(text) if text else None
