"""Ways in which a remote SMTP server may misbehave: what it does, without what should come of it. The unit tests
compare with answers that Postfix's smtp(8) gave, the interop tests ask a running one."""

import re
from collections.abc import Iterator

from msgspec import Struct

from postwarden.testing.remote import BANNER, END, OFFER, Act, Script

PLAIN = tuple(word for word in OFFER if word != "PIPELINING")
"""A server that wants each command by itself."""


HEAD = b"From: <from@sender.example>\r\nTo: <to@rcpt.example>\r\nSubject: test\r\n\r\n"


class Case(Struct, frozen=True):
    name: str
    script: Script
    recipients: int = 1
    parameters: tuple[tuple[str, str], ...] = ()
    head: bytes = HEAD
    content: bytes = b"Hello.\r\n"
    sender: str = "from@sender.example"
    utf8: bool = False
    eight_bit: bool = False
    local_part: str = "r"
    """Of the recipients, before their number."""


_OK = {
    BANNER: b"220 mx.remote.example ESMTP\r\n",
    "EHLO": b"250-mx.remote.example\r\n250 8BITMIME\r\n",
    "HELO": b"250 mx.remote.example\r\n",
    "MAIL": b"250 2.1.0 Ok\r\n",
    "RCPT": b"250 2.1.5 Ok\r\n",
    "DATA": b"354 Go on\r\n",
    END: b"250 2.0.0 Ok: queued as 4Z\r\n",
}
_STAGE = {BANNER: "banner", "EHLO": "ehlo", "HELO": "helo", "MAIL": "mail", "RCPT": "rcpt", "DATA": "data", END: "end"}


def _acts(stage: str) -> dict[str, Act | bytes]:
    good = _OK[stage]
    return {
        "4xx": b"450 4.2.0 Come back later\r\n",
        "5xx": b"550 5.7.1 Go away\r\n",
        "421 and close": Act(b"421 4.3.2 Shutting down\r\n", "close"),
        "421 and stay": b"421 4.3.2 Shutting down\r\n",
        "4xx in two lines": b"451-4.3.0 First line\r\n451 4.7.1 Last line\r\n",
        "5xx in two lines": b"554-5.7.0 First line\r\n554 5.7.9 Last line\r\n",
        "5xx with other codes in its lines": b"450-4.3.0 First line\r\n554 5.7.9 Last line\r\n",
        "5xx without text": b"550\r\n",
        "5xx without enhanced code": b"554 Go away\r\n",
        "4xx without enhanced code": b"451 Not now\r\n",
        "4xx with enhanced code of 5": b"450 5.1.1 Odd\r\n",
        "5xx with enhanced code that is none": b"550 5.1.2345 Odd\r\n",
        "1xx": b"150 Hm\r\n",
        "2xx of another kind": b"252 2.5.0 Hm\r\n",
        "3xx": b"354 Hm\r\n",
        "6xx": b"650 Hm\r\n",
        "000": b"000 Hm\r\n",
        "garbage before the reply": b"What is this\r\n" + good,
        "garbage, then 5xx": b"What is this\r\n550 5.7.1 Go away\r\n",
        "garbage and close": Act(b"What is this\r\n", "close"),
        "garbage and silence": Act(b"What is this\r\n", "stall"),
        "two digits": Act(b"25 ok\r\n", "close"),
        "four digits": Act(b"2500 ok\r\n", "close"),
        "code and colon": Act(b"250: ok\r\n", "close"),
        "empty line": b"\r\n" + good,
        "a reply without end": Act(b"250-And so on\r\n", "stall"),
        "no line end, close": Act(b"250 ok", "close"),
        "no line end, silence": Act(b"250 ok", "stall"),
        "bare LF": good.replace(b"\r\n", b"\n"),
        "CR before CRLF": good.replace(b"\r\n", b"\r\r\n"),
        "5xx over 2048 bytes": b"550 5.1.1 " + b"x" * 3000 + b"\r\n",
        "5xx over 2048 bytes in lines": b"".join(b"550-5.1.1 " + b"x" * 90 + b"\r\n" for _ in range(40))
        + b"550 end\r\n",
        "5xx with control characters": b"550 5.1.1 a\x01b\tc\x7fd\r\n",
        "5xx with NUL": b"550 5.1.1 a\0b\r\n",
        "5xx with UTF-8": "550 5.1.1 caf\u00e9 \u20ac\r\n".encode(),
        "5xx with Latin-1": b"550 5.1.1 caf\xe9 x\r\n",
        "close": Act(b"", "close"),
        "reset": Act(b"", "reset"),
        "silence": Act(b"", "stall"),
    }


def _stages() -> Iterator[Case]:
    for stage, name in _STAGE.items():
        before: dict[str, Act | bytes | tuple[Act | bytes, ...]] = {}
        if stage == "HELO":
            before = {"EHLO": b"502 5.5.2 What?\r\n"}
        for what, act in _acts(stage).items():
            acts = {**before, stage: act}
            if stage in (BANNER, "EHLO", "HELO"):
                yield Case(f"{name}: {what}", Script(acts))
            else:
                yield Case(f"{name}, pipelined: {what}", Script(acts))
                yield Case(f"{name}, one by one: {what}", Script(acts, PLAIN))


_LATER, _NEVER, _OKAY = b"450 4.2.1 Later\r\n", b"550 5.1.1 Unknown\r\n", b"250 2.1.5 Ok\r\n"
_DOWN = Act(b"421 4.3.2 Shutting down\r\n", "close")


def _recipients() -> Iterator[Case]:
    answers: dict[str, tuple[Act | bytes, ...]] = {
        "first refused, second accepted": (_NEVER, _OKAY),
        "first put off, second accepted": (_LATER, _OKAY),
        "first accepted, second refused, third put off": (_OKAY, _NEVER, _LATER),
        "all refused": (_NEVER,),
        "all put off": (_LATER,),
        "first accepted, then 421 and close": (_OKAY, _DOWN),
        "first refused, then closed": (_NEVER, Act(b"", "close")),
        "first put off, then silence": (_LATER, Act(b"", "stall")),
        "452 too many": (_OKAY, b"452 4.5.3 Too many recipients\r\n"),
        "552 too many": (_OKAY, b"552 5.5.3 Too many recipients\r\n"),
    }
    ends: dict[str, dict[str, Act | bytes | tuple[Act | bytes, ...]]] = {
        "": {},
        ", DATA put off": {"DATA": b"451 4.3.0 Not now\r\n"},
        ", DATA refused": {"DATA": b"554 5.5.1 No valid recipients\r\n"},
        ", content refused": {END: b"554 5.6.0 I do not like it\r\n"},
        ", closed after DATA": {"DATA": Act(b"", "close")},
        ", closed after the dot": {END: Act(b"", "close")},
    }
    for what, rcpt in answers.items():
        for how, acts in ends.items():
            for kind, offer in (("pipelined", OFFER), ("one by one", PLAIN)):
                yield Case(f"3 recipients, {kind}: {what}{how}", Script({**acts, "RCPT": rcpt}, offer), 3)


def _content() -> Iterator[Case]:
    big = (b"x" * 76 + b"\r\n") * 40000
    yield Case("closed within the content", Script(close_after=20000), content=big)
    yield Case("reset within the content", Script(reset_after=20000), content=big)
    yield Case(
        "552 within the content, then closed",
        Script(speak_after=20000, unasked=b"552 5.3.4 Too big\r\n", close_after=40000),
        content=big,
    )
    yield Case(
        "552 within the content, then read on",
        Script({END: Act(b"", "close")}, speak_after=20000, unasked=b"552 5.3.4 Too big\r\n"),
        content=big,
    )
    yield Case("SIZE is too small", Script(offer=("PIPELINING", "SIZE 1000", "8BITMIME")), content=big)
    yield Case("SIZE is no number", Script(offer=("PIPELINING", "SIZE many", "8BITMIME")))
    yield Case("SIZE is refused", Script({"MAIL": b"552 5.3.4 Message size exceeds fixed limit\r\n"}))
    yield Case("nothing is offered", Script(offer=()))
    yield Case("SMTPUTF8 is not offered", Script(offer=("8BITMIME",)), utf8=True, sender="f\u00fcr@sender.example")


def _hello() -> Iterator[Case]:
    yield Case("EHLO refused, HELO accepted", Script({"EHLO": b"500 5.5.2 What?\r\n"}))
    yield Case("EHLO and HELO refused", Script({"EHLO": b"500 5.5.2 What?\r\n", "HELO": b"501 5.5.4 No\r\n"}))
    yield Case("EHLO put off, HELO accepted", Script({"EHLO": b"450 4.7.1 Hm\r\n"}))
    yield Case("EHLO 421, then it stays", Script({"EHLO": b"421 4.7.1 Hm\r\n"}))
    yield Case("greeting twice", Script({BANNER: b"220 one\r\n220 two\r\n"}))
    yield Case("RSET refused after a refusal", Script({"MAIL": _NEVER, "RSET": b"500 5.5.2 What?\r\n"}))
    yield Case("closed after a refusal", Script({"RCPT": _NEVER, "RSET": Act(b"", "close")}))
    yield Case("QUIT is not answered", Script({"QUIT": Act(b"", "stall")}))
    yield Case("354 to DATA without recipients", Script({"RCPT": _NEVER}))
    yield Case("354 to DATA without sender", Script({"MAIL": _LATER, "RCPT": b"503 5.5.1 MAIL first\r\n"}))


def _twice() -> Iterator[Case]:
    for stage in ("EHLO", "MAIL", "RCPT", "DATA", END):
        for kind, offer in (("pipelined", OFFER), ("one by one", PLAIN)):
            if stage == "EHLO" and offer is OFFER:
                continue
            name = f"{_STAGE[stage]}, {kind}"
            if stage != "DATA":  # smtp(8) takes the second 354 for the verdict and bounces; we wait for a better day
                yield Case(f"{name}: answered twice", Script({stage: _OK[stage] * 2}, offer), 2)
            yield Case(f"{name}: refused, then accepted", Script({stage: _NEVER + _OK[stage]}, offer), 2)


_ENCRYPT = (("smtp_tls_security_level", "encrypt"),)
_MAY = (("smtp_tls_security_level", "may"),)


def _starttls() -> Iterator[Case]:
    offer = (*OFFER, "STARTTLS")
    answers: dict[str, Act | bytes] = {
        "4xx": b"454 4.7.0 TLS not available\r\n",
        "5xx": b"502 5.5.1 What?\r\n",
        "421 and close": _DOWN,
        "3xx": b"354 Hm\r\n",
        "garbage and close": Act(b"What is this\r\n", "close"),
        "close": Act(b"", "close"),
        "silence": Act(b"", "stall"),
        "220 and close": Act(b"220 2.0.0 Ready\r\n", "close"),
        "220 and silence": Act(b"220 2.0.0 Ready\r\n", "stall"),
    }
    for level, parameters in (("encrypt", _ENCRYPT), ("may", _MAY)):
        yield Case(f"STARTTLS not offered, {level}", Script(), parameters=parameters)
        for what, act in answers.items():
            yield Case(f"STARTTLS, {level}: {what}", Script({"STARTTLS": act}, offer), parameters=parameters)


def _mime(*fields: bytes) -> bytes:
    """A header to which Postfix adds nothing but Received."""
    lines = (
        b"X-First: 1", b"From: <from@sender.example>", b"To: <to@rcpt.example>", b"Subject: test",
        b"Message-ID: <1@sender.example>", b"Date: Mon, 23 Nov 2026 04:00:00 +0000", b"MIME-Version: 1.0", *fields,
    )  # fmt: skip
    return b"\r\n".join(lines) + b"\r\n\r\n"


_CTE8 = b"Content-Transfer-Encoding: 8bit"
_LATIN = b"caf\xe9 = x \r\n" + b"\xe9" * 70 + b"\r\n" + b"a=" * 50 + b"\t\r\n\r\n.dot\r\n" + b"z" * 76 + b"\r\n"


def content_cases() -> tuple[Case, ...]:
    """Messages that have to be changed on their way to the server, or might be."""
    no_8bit = Script(offer=("PIPELINING", "SIZE", "DSN"))
    parts = b"".join(
        (
            b"preamble \xe9\r\n--one\r\nContent-Type: text/plain\r\n" + _CTE8 + b"\r\n\r\n" + _LATIN,
            b"--one\r\nContent-Type: multipart/mixed; boundary=one-two\r\n" + _CTE8 + b"\r\n\r\n",
            b"--one-two\r\n" + _CTE8 + b"\r\nContent-Type: image/png\r\n\r\n" + _LATIN + b"--one-two--\r\nrest\r\n",
            b"--one\r\nContent-Type: message/rfc822\r\n" + _CTE8 + b"\r\n\r\nSubject: inner\r\n" + _CTE8 + b"\r\n\r\n",
            _LATIN + b"--one \r\nno header here \xe9\r\n--one--\r\nepilogue \xe9\r\n",
        )
    )
    multipart = _mime(b'Content-Type: multipart/mixed;\r\n boundary="one"', _CTE8)
    text = _mime(b"Content-Type: text/plain; charset=iso-8859-1", _CTE8)
    shown = _mime(b"Content-Type: text/plain", b"Content-Transfer-Encoding: quoted-printable")
    return (
        Case("content: dots", Script(), head=_mime(), content=b".\r\n..\r\n.x\r\n\r\n.\r\n"),
        Case("content: long lines", Script(), head=_mime(), content=_LONG),
        Case("content: long header", Script(), head=_mime(b"X-Long: " + b"l" * 1500), content=b"x\r\n"),
        Case("content: no body", Script(), head=_mime(), content=b""),
        Case("content: 8-bit", Script(), head=text, content=_LATIN, eight_bit=True),
        Case("content: 8-bit to a 7-bit server", no_8bit, head=text, content=_LATIN, eight_bit=True),
        Case("content: 8-bit without MIME", no_8bit, head=_mime(), content=_LATIN, eight_bit=True),
        Case("content: quoted-printable", no_8bit, head=shown, content=_LATIN, eight_bit=True),
        Case("content: 8-bit parts", no_8bit, head=multipart, content=parts, eight_bit=True),
        Case("content: 8-bit parts, passed", Script(), head=multipart, content=parts, eight_bit=True),
        Case("content: 8-bit and long lines", no_8bit, head=text, content=_LONG + _LATIN, eight_bit=True),
        Case("content: odd recipients", Script(), 2, head=_mime(), local_part="a b(c)"),
        Case("content: recipients with dots", Script(), 2, head=_mime(), local_part="..x"),
        Case("content: null sender", Script(), head=_mime(), sender=""),
    )


_LONG = (
    b"".join(b"." + b"0123456789" * (n // 10) + b"\r\n" for n in (980, 990, 1000, 1990, 2000, 5000))
    + b"y" * 998
    + b"\r\n"
)


def comparable(text: str) -> str:
    """Without what differs by design: Postfix counts a message's size with the headers that it added, and a line of
    its log ends at some 2000 bytes."""
    return re.sub(r"message size \d+", "message size N", text)[:1500]


def cases() -> tuple[Case, ...]:
    return (*_stages(), *_recipients(), *_content(), *_hello(), *_twice(), *_starttls())
