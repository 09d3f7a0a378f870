"""PCRE2 of the operating system, the library that Postfix's own pcre: tables stand on.

Subjects are bytes, as there: `.` is one byte of a UTF-8 character unless a pattern says `(*UTF)`.
"""

import ctypes
from functools import cache
from typing import Any

from postwarden.tables.posix_regex import RegexError

ANCHORED, CASELESS, DOLLAR_ENDONLY, DOTALL = 0x80000000, 0x8, 0x10, 0x20
EXTENDED, MULTILINE, UNGREEDY = 0x80, 0x400, 0x40000

MATCH_LIMIT = 100_000
"""Steps of one match, some milliseconds: `(a+)+$` takes exponential time, and a sender chooses the subject."""
HEAP_LIMIT_KIB = 16_384
SUBJECT_LIMIT = 1 << 20

_NO_JIT = 0x2000
_NOMATCH, _JIT_STACK = -1, -46
_CAPTURE_COUNT = 4
_UNSET = ctypes.c_size_t(-1).value
_NAMES = ("libpcre2-8.so.0", "libpcre2-8.so")


class PcreError(RegexError):
    """The expression is wrong, too much for the library, or there is no library."""


class Expression:
    """One compiled expression, for any thread. `groups` counts its parentheses."""

    def __init__(self, expression: str, flags: int) -> None:
        """Raises PcreError with the library's text."""
        self._library = library()
        pattern = expression.encode("utf-8", "surrogateescape")
        code, offset = ctypes.c_int(), ctypes.c_size_t()
        self._code = self._library.pcre2_compile_8(
            pattern, len(pattern), flags, ctypes.byref(code), ctypes.byref(offset), None
        )
        if not self._code:
            raise PcreError(f"error in regex at offset {offset.value}: {_message(self._library, code.value)}")
        self._library.pcre2_jit_compile_8(self._code, 1)  # where memory can't be made executable, it interprets
        self._spare: list[_Room] = []
        self._context = self._library.pcre2_match_context_create_8(None)
        self._library.pcre2_set_match_limit_8(self._context, MATCH_LIMIT)
        self._library.pcre2_set_depth_limit_8(self._context, MATCH_LIMIT)
        self._library.pcre2_set_heap_limit_8(self._context, HEAP_LIMIT_KIB)
        count = ctypes.c_uint32()
        self._library.pcre2_pattern_info_8(self._code, _CAPTURE_COUNT, ctypes.byref(count))
        self.groups = count.value

    def match(self, subject: str, *, negated: bool = False) -> tuple[str | None, ...] | None:
        """The whole match and its groups, or None; the other way round (and the subject) when negated. Raises
        PcreError when the library gives up."""
        data = subject.encode("utf-8", "surrogateescape")[:SUBJECT_LIMIT]
        try:
            room = self._spare.pop()
        except IndexError:  # the first time, or another thread is at it
            room = _Room(self._library, self._code)
        found = self._run(data, room, 0)
        if found == _JIT_STACK:
            found = self._run(data, room, _NO_JIT)
        groups = tuple([_group(data, room, number) for number in range(self.groups + 1)]) if found >= 0 else ()
        self._spare.append(room)
        if found < _NOMATCH:
            raise PcreError(_message(self._library, found))
        if (found == _NOMATCH) != negated:
            return None
        return (subject,) if negated else groups

    def _run(self, data: bytes, room: "_Room", options: int) -> int:
        return int(self._library.pcre2_match_8(self._code, data, len(data), 0, options, room.data, self._context))

    def __del__(self) -> None:
        for name, release in (("_context", "match_context"), ("_code", "code")):
            if getattr(self, name, None):
                getattr(self._library, f"pcre2_{release}_free_8")(getattr(self, name))


class _Room:
    """Where the library writes what matched."""

    def __init__(self, library: Any, code: Any) -> None:
        self._free = library.pcre2_match_data_free_8
        self.data = library.pcre2_match_data_create_from_pattern_8(code, None)
        self.offsets = library.pcre2_get_ovector_pointer_8(self.data)

    def __del__(self) -> None:
        if getattr(self, "data", None):
            self._free(self.data)


def _group(data: bytes, room: _Room, number: int) -> str | None:
    start, end = room.offsets[2 * number], room.offsets[2 * number + 1]
    return None if start == _UNSET else data[start:end].decode("utf-8", "replace")


@cache
def library() -> Any:
    """Raises PcreError where it is not installed."""
    for name in _NAMES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        _declare(found)
        return found
    raise PcreError("the library libpcre2-8 is needed: install it (Debian: libpcre2-8-0)")


def _declare(found: Any) -> None:
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "compile": (pointer, [ctypes.c_char_p, size, number, pointer, pointer, pointer]),
        "jit_compile": (ctypes.c_int, [pointer, number]),
        "match_data_create_from_pattern": (pointer, [pointer, pointer]),
        "match_context_create": (pointer, [pointer]),
        "set_match_limit": (ctypes.c_int, [pointer, number]),
        "set_depth_limit": (ctypes.c_int, [pointer, number]),
        "set_heap_limit": (ctypes.c_int, [pointer, number]),
        "get_ovector_pointer": (ctypes.POINTER(size), [pointer]),
        "pattern_info": (ctypes.c_int, [pointer, number, pointer]),
        "match": (ctypes.c_int, [pointer, ctypes.c_char_p, size, size, number, pointer, pointer]),
        "get_error_message": (ctypes.c_int, [ctypes.c_int, ctypes.c_char_p, size]),
        "code_free": (None, [pointer]),
        "match_data_free": (None, [pointer]),
        "match_context_free": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(found, f"pcre2_{name}_8")
        function.restype, function.argtypes = result, arguments


def _message(found: Any, code: int) -> str:
    buffer = ctypes.create_string_buffer(256)
    found.pcre2_get_error_message_8(code, buffer, len(buffer))
    return buffer.value.decode(errors="replace")
