"""One command line of SMTP -> its event: syntax only (RFC 5321 4.1.1, RFC 3461, RFC 6152, RFC 1870, RFC 6531)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from postwarden.mail.reply import Reply
from postwarden.wire.smtp_events import Chunk, Data, Event, Hello, Mail, Rcpt, Refused, Verify, Word
from postwarden.wire.smtp_paths import PLAIN_MAIL, PLAIN_RCPT, XTEXT, parse_path, split_path, valid_orcpt

_BAD_SENDER = Reply(501, "5.1.7", "Bad sender address syntax")
_BAD_RECIPIENT = Reply(501, "5.1.3", "Bad recipient address syntax")
_BAD_UTF8 = Reply(500, "5.5.2", "Error: bad UTF-8 syntax")
_MAIL_SYNTAX = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address>")
_RCPT_SYNTAX = Reply(501, "5.5.4", "Syntax: RCPT TO:<address>")
_BDAT_SYNTAX = Reply(521, "5.5.4", "Syntax: BDAT count [LAST]")
_NOTIFY = MappingProxyType({"NEVER": 1, "SUCCESS": 2, "FAILURE": 4, "DELAY": 8})
_MAX_ENVID = 100
_MAX_SIZE_DIGITS = 19


class _BadParameter(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


def parse_mail(line: bytes) -> Event:
    plain = PLAIN_MAIL.match(line)
    if plain is not None and len(plain[1]) <= 255:
        if plain[2] is None:
            return Mail(plain[1].decode("ascii"))
        path, words = f"<{plain[1].decode('ascii')}>", plain[2]
        text = words.decode("utf-8", "replace").split()
        return _mail(plain[1].decode("ascii"), path, text)
    split = _split(line, "MAIL", "FROM:")
    if split is None:
        return Refused("MAIL", _MAIL_SYNTAX)
    path, parameters = split
    return _mail(parse_path(path), path, parameters)


def _mail(sender: str | None, path: str, parameters: list[str]) -> Event:
    # Parameters first, as Postfix does it: `MAIL FROM:a b c` is an unsupported option `b`.
    found: dict[str, str] = {}
    try:
        for word in parameters:
            _mail_parameter(word, found)
    except _BadParameter as bad:
        return Refused("MAIL", bad.reply)
    if sender is None:
        return Refused("MAIL", _BAD_SENDER, ("Illegal address syntax from ", f" in MAIL command: {path}"))
    return Mail(
        sender,
        int(found.get("SIZE", 0)),
        found.get("BODY") == "8BITMIME",
        "SMTPUTF8" in found,
        found.get("RET", ""),
        found.get("ENVID", ""),
    )


def _mail_parameter(word: str, found: dict[str, str]) -> None:
    name, equals, value = word.partition("=")
    name = name.upper()
    if name == "SIZE" and equals:
        if not value.isascii() or not value.isdigit() or len(value) > _MAX_SIZE_DIGITS:
            raise _BadParameter(Reply(501, "5.5.4", "Bad message size syntax"))
    elif name == "BODY" and value.upper() in ("7BIT", "8BITMIME"):
        value = value.upper()
    elif name == "RET" and equals:
        value = value.upper()
        if value not in ("FULL", "HDRS") or "RET" in found:
            raise _BadParameter(Reply(501, "5.5.4", "Bad RET parameter syntax"))
    elif name == "ENVID" and equals:
        if not value or len(value) > _MAX_ENVID or "ENVID" in found or not XTEXT.match(value):
            raise _BadParameter(Reply(501, "5.5.4", "Bad ENVID parameter syntax"))
    elif not (name == "AUTH" and equals) and not (name == "SMTPUTF8" and not equals):
        # AUTH= (RFC 4954 5) says whom the client believes to be the author: read, and of no consequence.
        raise _BadParameter(Reply(555, "5.5.4", f"Unsupported option: {word}"))
    found[name] = value


def parse_rcpt(line: bytes) -> Event:
    plain = PLAIN_RCPT.match(line)
    if plain is not None and len(plain[1]) <= 255:
        if plain[2] is None:
            return Rcpt(plain[1].decode("ascii"))
        address = plain[1].decode("ascii")
        return _rcpt(address, f"<{address}>", plain[2].decode("utf-8", "replace").split())
    split = _split(line, "RCPT", "TO:")
    if split is None:
        return Refused("RCPT", _RCPT_SYNTAX)
    path, parameters = split
    return _rcpt(parse_path(path), path, parameters)


def _rcpt(address: str | None, path: str, parameters: list[str]) -> Event:
    if not address:
        return Refused("RCPT", _BAD_RECIPIENT, ("Illegal address syntax from ", f" in RCPT command: {path}"))
    orcpt, notify = "", 0
    for word in parameters:
        name, equals, value = word.partition("=")
        name = name.upper()
        if name == "NOTIFY" and equals:
            bits = _notify(value)
            if not bits or notify:
                return Refused("RCPT", Reply(501, "5.5.4", "Error: Bad NOTIFY parameter syntax"))
            notify = bits
        elif name == "ORCPT" and equals:
            if orcpt or not valid_orcpt(value):
                return Refused("RCPT", Reply(501, "5.5.4", "Error: Bad ORCPT parameter syntax"))
            orcpt = value
        else:
            return Refused("RCPT", Reply(555, "5.5.4", f"Unsupported option: {word}"))
    return Rcpt(address, orcpt, notify)


def _notify(value: str) -> int:
    """Bits of `Notify`; 0 for what is none (RFC 3461 4.1: NEVER stands alone)."""
    bits = 0
    for word in value.upper().split(","):
        if word:
            bit = _NOTIFY.get(word, 0)
            if not bit:
                return 0
            bits |= bit
    return 0 if bits & 1 and bits != 1 else bits


def _split(line: bytes, verb: str, keyword: str) -> tuple[str, list[str]] | None:
    """`VERB KEYWORD: path parameters` -> path and parameters. A blank after the colon is forgiven, one before not."""
    text = line.decode("utf-8").strip(" \t")[len(verb) :].lstrip(" \t")
    if text[: len(keyword)].upper() != keyword:
        return None
    path, parameters = split_path(text[len(keyword) :])
    return (path, parameters) if path else None


def parse_hello(line: bytes) -> Event:
    words = line.decode("utf-8").split(maxsplit=1)
    verb = words[0].upper()
    if len(words) < 2:
        return Refused(verb, Reply(501, "", f"Syntax: {verb} hostname"))
    return Hello(verb, words[1].strip())


def parse_data(line: bytes) -> Event:
    return Data() if len(line.split()) == 1 else Refused("DATA", Reply(501, "5.5.4", "Syntax: DATA"))


def parse_bdat(line: bytes) -> Event:
    """A malformed BDAT ends the connection: what follows may be content or commands, and nobody can tell."""
    words = line.split()
    last = len(words) == 3 and words[2].upper() == b"LAST"
    if len(words) not in (2, 3) or (len(words) == 3 and not last) or not words[1].isdigit() or len(words[1]) > 18:
        text = line.decode("utf-8", "replace")
        return Refused("BDAT", _BDAT_SYNTAX, ("malformed BDAT command syntax from ", f": {text}"), close=True)
    return Chunk(int(words[1]), last)


def parse_verify(line: bytes) -> Event:
    words = line.decode("utf-8").split()
    declared = len(words) > 2 and words[-1].upper() == "SMTPUTF8"
    if declared:
        words.pop()
    if len(words) < 2:
        return Refused("VRFY", Reply(501, "5.5.4", "Syntax: VRFY address [SMTPUTF8]"))
    given = " ".join(words[1:])
    address = parse_path(given)
    if not address:
        return Refused("VRFY", _BAD_RECIPIENT, ("Illegal address syntax from ", f" in VRFY command: {given}"))
    return Verify(address, given, declared)


def parse_alone(line: bytes) -> Event:
    """A command that takes no argument."""
    words = line.split()
    verb = words[0].decode("ascii").upper()
    if len(words) > 1:
        return Refused(verb, Reply(501, "5.5.4", f"Syntax: {verb}"))
    return Word(verb)


def parse_words(line: bytes) -> Event:
    words = line.decode("utf-8").split()
    return Word(words[0].upper(), tuple(words[1:]))


PARSERS: Mapping[bytes, tuple[str, Callable[[bytes], Event]]] = MappingProxyType(
    {
        b"EHLO": ("EHLO", parse_hello),
        b"HELO": ("HELO", parse_hello),
        b"MAIL": ("MAIL", parse_mail),
        b"RCPT": ("RCPT", parse_rcpt),
        b"DATA": ("DATA", parse_data),
        b"BDAT": ("BDAT", parse_bdat),
        b"RSET": ("RSET", parse_alone),
        b"STARTTLS": ("STARTTLS", parse_alone),
        b"NOOP": ("NOOP", parse_words),
        b"QUIT": ("QUIT", parse_words),
        b"VRFY": ("VRFY", parse_verify),
        b"ETRN": ("ETRN", parse_words),
        b"AUTH": ("AUTH", parse_words),
        b"XCLIENT": ("XCLIENT", parse_words),
        b"XFORWARD": ("XFORWARD", parse_words),
    }
)
"""Verb -> its name, and what makes an event of the line. A new command has a line here, one in smtp_states, an event,
and a function in `receive`."""


def barred(event: Event, line: bytes, *, strict: bool, minus: bool) -> Refused | None:
    """What the operator does not take although it can be read: `strict` wants brackets and nothing beside the address
    in them (strict_rfc821_envelopes); without `minus` no address begins with `-`, which a program might take for an
    option (allow_min_user)."""
    if isinstance(event, Mail):
        verb, keyword, address, reply = "MAIL", "FROM:", event.sender, _BAD_SENDER
    elif isinstance(event, Rcpt):
        verb, keyword, address, reply = "RCPT", "TO:", event.address, _BAD_RECIPIENT
    else:
        return None
    bad = address[:1] == "-" and not minus
    if not bad and not strict:
        return None
    path = (_split(line, verb, keyword) or ("", []))[0]
    if bad or not path.startswith("<"):
        return Refused(verb, reply, ("Illegal address syntax from ", f" in {verb} command: {path}"))
    return None


def parse(line: bytes, parser: Callable[[bytes], Event], verb: str) -> Event:
    """Never raises."""
    try:
        return parser(line)
    except UnicodeDecodeError:
        return Refused(verb, _BAD_UTF8)
