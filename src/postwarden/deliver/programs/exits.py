"""What the end of a program means for its mail: sysexits.h and RFC 3463, as local(8) and pipe(8) take them."""

import re

from postwarden.deliver.programs.ports import Ran
from postwarden.mail.status import Status

_SYSEXITS = {
    64: ("5.3.0", "command line usage error"),
    65: ("5.6.0", "data format error"),
    66: ("5.3.0", "cannot open input"),
    67: ("5.1.1", "user unknown"),
    68: ("5.1.2", "host name unknown"),
    69: ("5.3.0", "service unavailable"),
    70: ("5.3.0", "internal software error"),
    71: ("4.3.0", "system resource problem"),
    72: ("5.3.0", "critical OS file missing"),
    73: ("5.2.0", "can't create user output file"),
    74: ("5.3.0", "input/output error"),
    75: ("4.3.0", "temporary failure"),
    76: ("5.5.0", "remote error in protocol"),
    77: ("5.7.0", "permission denied"),
    78: ("5.3.5", "local configuration error"),
}
_CODE = re.compile(r"([245])(\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)")
_SOFTWARE = _SYSEXITS[70][1]


def failure(ran: Ran, command: str) -> Status | None:
    """Why mail was not delivered by `command`, as the log shows it; None: it was."""
    said = text_of(ran.output)
    tail = f". Command output: {said}" if said else ""
    if ran.late:
        return _failed("5.3.0", f'Command time limit exceeded: "{command}"{tail}', said or _SOFTWARE)
    if ran.signal:
        return _failed("4.3.0", f'Command died with signal {ran.signal}: "{command}"{tail}', said or _SOFTWARE)
    if not ran.exit:
        return None
    match = _CODE.match(said)
    if match is not None:
        # It failed, so that a code of success is none.
        text, kind = said[match.end() :], match[1]
        return _failed(kind + match[2] if kind != "2" else "5.0.0", text, text)
    if ran.exit in _SYSEXITS:
        code, text = _SYSEXITS[ran.exit]
        return _failed(code, text + tail, said or text)
    said = said or f"unknown mail system error {ran.exit}"
    return _failed("5.3.0", f'Command died with status {ran.exit}: "{command}"{tail}', said)


def text_of(output: bytes) -> str:
    """What a program said, on one line that can be logged."""
    text = output.decode("utf-8", "surrogateescape").replace("\n", " ").replace("\t", " ")
    return text if text.isprintable() else "".join([c if c.isprintable() else "_" for c in text])


def _failed(code: str, text: str, said: str) -> Status:
    return Status(code, text, program_said=said)
