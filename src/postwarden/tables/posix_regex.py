"""regcomp(3) and regexec(3) of the C library: POSIX expressions, leftmost-longest, as Postfix has them.

Python's `re` is another language (`\\<`, `[[:alpha:]]`, longest match), and takes exponential time on some patterns.
"""

import ctypes
from collections.abc import Callable
from typing import Any

EXTENDED, ICASE, NEWLINE = 1, 2, 4
"""The flags as Linux has them, in the GNU library and in musl."""

GROUP_LIMIT = 100
SUBJECT_LIMIT = 1 << 20


class RegexError(ValueError):
    """The expression is wrong, or too much for the library."""


class _RegexT(ctypes.Structure):
    # regex_t begins with other fields in each library; 64 bytes in both, so 256 are enough.
    _fields_ = [("space", ctypes.c_char * 256)]


class Regex:
    """One compiled expression, for any thread. `groups` counts its parentheses."""

    def __init__(self, expression: str, flags: int) -> None:
        """Raises RegexError with the library's text."""
        pattern = expression.encode("utf-8", "surrogateescape")
        if b"\0" in pattern:
            raise RegexError("a NUL byte in the expression")
        self._library: Any = ctypes.CDLL(None)
        self._regex = _RegexT()
        self._free: Callable[[Any], None] | None = None
        code = self._library.regcomp(ctypes.byref(self._regex), pattern, flags)
        if code:
            raise RegexError(self._text(code))
        self._free = self._library.regfree
        self.groups = _count_groups(expression, bool(flags & EXTENDED))
        size = min(self.groups, GROUP_LIMIT) + 1
        self._new_offsets: Any = _offset_type(self._library) * (2 * size)
        self._spare: list[Any] = []
        self._size = size

    def match(self, subject: str, *, negated: bool = False) -> tuple[str | None, ...] | None:
        """The whole match and its groups, or None; the other way round (and the subject) when negated. Raises
        RegexError when the library gives up."""
        data = subject.encode("utf-8", "surrogateescape")
        try:
            room = self._spare.pop()
        except IndexError:  # the first time, or another thread is at it
            room = self._new_offsets()
        code = self._library.regexec(ctypes.byref(self._regex), data, self._size, room, 0)
        offsets = list(room) if code == 0 else []
        self._spare.append(room)
        if code > 1:
            raise RegexError(self._text(code))
        if (code == 1) != negated:
            return None
        if negated:
            return (subject,)
        return tuple(
            None if start < 0 else data[start:end].decode("utf-8", "replace")
            for start, end in zip(offsets[::2], offsets[1::2], strict=True)
        )

    def __del__(self) -> None:
        if getattr(self, "_free", None) is not None and self._free is not None:
            self._free(ctypes.byref(self._regex))

    def _text(self, code: int) -> str:
        buffer = ctypes.create_string_buffer(256)
        self._library.regerror(code, ctypes.byref(self._regex), buffer, len(buffer))
        return buffer.value.decode(errors="replace")


def _count_groups(expression: str, extended: bool) -> int:
    """Opening parentheses that make a group: not escaped, not in a bracket expression. `\\(` in basic syntax."""
    count = at = 0
    while at < len(expression):
        char = expression[at]
        if char == "\\":
            count += not extended and expression[at + 1 : at + 2] == "("
            at += 2
            continue
        if char == "[":
            at = _bracket_end(expression, at)
        elif char == "(" and extended:
            count += 1
        at += 1
    return count


def _bracket_end(expression: str, start: int) -> int:
    """Index of the `]` that ends the bracket expression at `start`: `[]a]`, `[^]a]`, `[[:alpha:]]`."""
    at = start + 1
    if expression[at : at + 1] == "^":
        at += 1
    if expression[at : at + 1] == "]":
        at += 1
    while at < len(expression) and expression[at] != "]":
        if expression[at] == "[" and expression[at + 1 : at + 2] in (":", ".", "="):
            end = expression.find(expression[at + 1] + "]", at + 2)
            at = end + 1 if end >= 0 else at
        at += 1
    return at


def _offset_type(library: Any) -> Any:
    """regoff_t: an int in the GNU library, a long in musl. Which, only a match tells."""
    regex, offsets = _RegexT(), (ctypes.c_int * 8)()
    library.regcomp(ctypes.byref(regex), b"b", EXTENDED)
    library.regexec(ctypes.byref(regex), b"ab", 1, offsets, 0)
    library.regfree(ctypes.byref(regex))
    return ctypes.c_int if (offsets[0], offsets[1]) == (1, 2) else ctypes.c_long
