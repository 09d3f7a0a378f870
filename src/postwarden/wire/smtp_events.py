"""What an SMTP client says, as values: what `smtp_server.Machine` makes of bytes."""

from msgspec import Struct

from postwarden.mail.reply import Reply


class Hello(Struct, frozen=True):
    verb: str
    """EHLO or HELO."""
    name: str
    warning: tuple[str, str] | None = None
    """As in `Refused`."""


class Mail(Struct, frozen=True):
    """MAIL, syntax checked. An empty sender is the null reverse-path."""

    sender: str
    size: int = 0
    """SIZE=; 0 when it was not given."""
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


class Rcpt(Struct, frozen=True):
    address: str
    orcpt: str = ""
    notify: int = 0
    """Bits of `mail.envelope.Notify`."""


class Data(Struct, frozen=True):
    pass


class Content(Struct, frozen=True):
    """Content of a message, after DATA or BDAT, with CRLF line ends and without dot-stuffing."""

    data: bytes


class ContentEnd(Struct, frozen=True):
    """The dot. `bare_lf`: the content had line ends that the machine was told to report."""

    bare_lf: bool = False


class Chunk(Struct, frozen=True):
    """BDAT, in order. Not to be answered: its payload follows as `Content`, then `ChunkEnd`."""

    size: int
    last: bool


class ChunkEnd(Struct, frozen=True):
    """All of a chunk is here: answer BDAT."""

    size: int
    last: bool
    bare_lf: bool = False


class Verify(Struct, frozen=True):
    address: str
    given: str
    """As it stands in the command, for the reply."""
    smtputf8: bool = False


class Word(Struct, frozen=True):
    """A command without syntax of its own: RSET, NOOP, QUIT, STARTTLS, ETRN, XCLIENT, XFORWARD."""

    verb: str
    arguments: tuple[str, ...] = ()


class Refused(Struct, frozen=True):
    """A command that is out of order or malformed. Send `reply`; with `close`, end the connection then."""

    verb: str
    reply: Reply
    warning: tuple[str, str] | None = None
    """For the log: what stands before and after the client's name; None where Postfix logs nothing."""
    close: bool = False


class Unknown(Struct, frozen=True):
    """No command of SMTP, or none that is offered."""

    line: str


class BareLf(Struct, frozen=True):
    """A command ended in LF without CR, which the machine was told to report. It was not looked at."""


Event = (
    Hello | Mail | Rcpt | Data | Content | ContentEnd | Chunk | ChunkEnd | Verify | Word | Refused | Unknown | BareLf
)
