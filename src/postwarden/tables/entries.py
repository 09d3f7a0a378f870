"""What postmap and postalias read, as bytes: a line at fault is said in Postfix's words and left out.

The daemons are stricter with a text that they read themselves (`text.py`): there, an old text is at hand that is good.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator

Entry = tuple[bytes, bytes, int]
"""Key, value, and the line."""
Warn = Callable[[str], None]
Reader = Callable[[bytes, str, Warn, bool], Iterator[Entry]]

_SPACE = b" \t\n\r\v\f"
_QUOTED = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[^\s"\\]|\\.?)+', re.DOTALL)
_ALIAS_NAME = re.compile(rb'((?:"(?:[^"\\]|\\.)*"|\([^()]*\)|[^"\\:,()]|\\.)+):')
_ALIAS_PART = re.compile(
    rb'"(?:[^"\\]|\\.)*"?|\([^()]*\)|[ \t\r\v\f]*([,@;:.!])[ \t\r\v\f]*|\\([A-Za-z0-9_])|[ \t\r\v\f]+'
)


def map_entries(data: bytes, file: str, warn: Warn, utf8: bool = True) -> Iterator[Entry]:
    """Lines `key value`. `utf8`: other lines than UTF-8 don't count."""
    if _is_plain(data, utf8):
        yield from _plain_entries(data, file, warn)
        return
    for number, line in _lines(data, file, warn, utf8):
        if b'"' in line or b"\\" in line:
            found = _QUOTED.match(line)
            if found is None or line[found.end() : found.end() + 1] not in (b" ", b"\t", b"\r", b"\v", b"\f", b""):
                warn(f"{file}, line {number}: unbalanced '\"' in '{_shown(line)}' -- ignoring this line")
                continue
            key, value = found[0], line[found.end() :].lstrip(_SPACE)
        else:
            parts = line.split(None, 1)
            key, value = parts if len(parts) == 2 else (line, b"")
        value = value.rstrip(_SPACE)
        if not value:
            warn(f"{file}, line {number}: expected format: key whitespace value")
            continue
        if key.endswith(b":"):
            warn(f'{file}, line {number}: record is in "key: value" format; is this an alias file?')
        yield key, value, number


def alias_entries(data: bytes, file: str, warn: Warn, utf8: bool = True) -> Iterator[Entry]:
    """Lines `name: value`. The name loses its quotes, and white space in the value that means nothing."""
    for number, line in _lines(data, file, warn, utf8):
        found = _ALIAS_NAME.match(line)
        name = found[1].strip(_SPACE) if found else b""
        value = line[found.end() :].strip(_SPACE) if found else b""
        if not name.strip(b'"') or not value:
            warn(f"{file}, line {number}: need name:value pair")
        elif b"@" in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", name):
            warn(f"{file}, line {number}: name must be local")
        else:
            yield _unquoted(name), _ALIAS_PART.sub(_alias_part, value), number


def encoded_files(entries: Iterable[Entry], file: str, warn: Warn) -> Iterator[Entry]:
    """For `-F`: the value names files, and what is stored is their content in base64."""
    for key, value, number in entries:
        try:
            contents = []
            for name in re.split(rb"[\s,]+", value.strip(b", \t")):
                with open(name, "rb") as stream:
                    contents.append(stream.read())
        except OSError as error:
            warn(f"{file}, line {number}: open {_shown(name)}: {error.strerror}: skipping this entry")
        else:
            yield key, base64.b64encode(b"\n".join(contents)), number


_PARTICULAR = (b'"', b"\\", b"\r", b"\v", b"\f", b"\0")
_PAIRS = ((b" ", (b"\n ", b" \n")), (b"\t", (b"\n\t", b"\t\n")), (b":", (b": ", b":\t", b":\n")))
"""What lines that continue, white space at the end and alias files have; not searched for where its one byte is not."""
_BLOCK = 1 << 20


def _is_plain(data: bytes, utf8: bool) -> bool:
    """Each line stands for itself and says what it seems to say: no line need be asked again."""
    if data[:1] in (b" ", b"\t") or data[-1:] in (b" ", b"\t", b":") or any(each in data for each in _PARTICULAR):
        return False
    if any(one in data and any(each in data for each in pairs) for one, pairs in _PAIRS):
        return False
    try:
        return data.isascii() or not utf8 or bool(data.decode())
    except UnicodeDecodeError:
        return False


def _plain_entries(data: bytes, file: str, warn: Warn) -> Iterator[Entry]:
    """A fifth of the time that the general way takes: of a million lines one second is saved."""
    at, number = 0, 0
    while at < len(data):
        end = data.find(b"\n", at + _BLOCK)
        end = len(data) if end < 0 else end
        for parts in [line.split(None, 1) for line in data[at:end].split(b"\n")]:
            number += 1
            if len(parts) == 2:
                if parts[0][0] != 35:  # a comment begins with "#"
                    yield parts[0], parts[1], number
            elif parts and parts[0][0] != 35:
                warn(f"{file}, line {number}: expected format: key whitespace value")
        at = end + 1


def _lines(data: bytes, file: str, warn: Warn, utf8: bool) -> Iterator[tuple[int, bytes]]:
    """Logical lines with the number of their first; comments and empty lines count for nothing within them either."""
    plain = data.isascii() and b"\0" not in data  # what each line need not be asked then: a fifth of all time
    start, text, whole, begun = 0, b"", False, False
    for number, line in enumerate(data.split(b"\n"), 1):
        if line[:1] in b"# \t\r\v\f":
            stripped = line.strip(_SPACE)
            if not stripped or stripped[:1] == b"#":
                continue
            # One that continues nothing begins a line of its own, which does not count.
            start, text, whole = start if whole else number, text + line, True
            continue
        if whole and (good := text if plain and begun else _checked(start, text, file, warn, utf8)):
            yield start, good
        start, text, whole, begun = number, line, True, True
    if whole and (good := _checked(start, text, file, warn, utf8)):
        yield start, good


def _checked(number: int, text: bytes, file: str, warn: Warn, utf8: bool) -> bytes:
    """The line without what C does not see of it; empty where it does not count."""
    text = text.partition(b"\0")[0]
    if text[:1].isspace():
        warn(f'{file}: logical line must not start with whitespace: "{_shown(text)}"')
        return b""
    if utf8 and not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            warn(f'{file}, line {number}: non-UTF-8 input "{_shown(text)}" -- ignoring this line')
            return b""
    return text


def _shown(text: bytes) -> str:
    shown = text.decode("utf-8", "surrogateescape")
    return "".join(c if c.isprintable() else "?" for c in shown)


def _unquoted(name: bytes) -> bytes:
    if b'"' not in name and b"\\" not in name:
        return b" ".join(name.split())
    return re.sub(rb"\\(.)", rb"\1", re.sub(rb'(?<!\\)"', b"", name))


def _alias_part(part: re.Match[bytes]) -> bytes:
    if part[1]:
        return b", " if part[1] == b"," else part[1]
    if part[2]:
        return part[2]  # a backslash quotes what needs no quotes: `\user` means something in .forward files only
    return b" " if part[0][:1] in _SPACE else part[0]
