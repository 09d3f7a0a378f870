"""SMTP replies as values (RFC 5321 4.2, RFC 2034, RFC 3463)."""

from msgspec import Struct

_LONGEST = 512
"""Octets of a reply line with its end (RFC 5321 4.5.3.1.5)."""


class Reply(Struct, frozen=True, array_like=True):
    """A reply to a command.

    `code` is the SMTP code, `status` the enhanced status code ("5.7.1", empty where none is sent: greeting, EHLO, 354),
    `text` what the peer reads; its lines are parted by "\\n". Whether a reply is temporary follows from `code` alone.
    """

    code: int
    status: str
    text: str
    reference: str = ""
    """What the peer may name when he asks about it: `marked` has it in the text."""

    @property
    def positive(self) -> bool:
        return self.code < 400

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    def marked(self) -> "Reply":
        """With the reference at the end of the text, or on a line of its own where that would become too long."""
        if not self.reference:
            return self
        mark = f"[ref {self.reference}]"
        last = f"{self.code} {self.status} {self.text.rpartition(chr(10))[2]} {mark}\r\n"
        glue = " " if len(last.encode("utf-8", "surrogateescape")) <= _LONGEST else "\n"
        return Reply(self.code, self.status, f"{self.text}{glue}{mark}")

    def encode(self) -> bytes:
        """The reply as sent, without the reference, CRLF at the end of each line. Text is UTF-8; CR never passes."""
        text = self.text
        if "\n" not in text and "\r" not in text:
            line = f"{self.code} {self.status} {text}\r\n" if self.status else f"{self.code} {text}\r\n"
            return line.encode("utf-8", "surrogateescape")
        prefix = f"{self.status} " if self.status else ""
        lines = self.text.replace("\r", " ").split("\n")
        last = len(lines) - 1
        return "".join(
            f"{self.code}{'-' if n < last else ' '}{prefix}{line}\r\n" for n, line in enumerate(lines)
        ).encode("utf-8", "surrogateescape")

    def __str__(self) -> str:
        """One line, as Postfix logs it: `550 5.1.1 text`. With the reference."""
        text = (self.marked() if self.reference else self).text.replace("\n", " ")
        return f"{self.code} {self.status} {text}" if self.status else f"{self.code} {text}"
