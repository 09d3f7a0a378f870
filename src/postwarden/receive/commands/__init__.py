"""One file a command: judge, then apply. Syntax and order were checked by `wire.smtp_server` before."""

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from postwarden.receive.commands.bdat import apply_chunk, apply_chunk_end
from postwarden.receive.commands.data import apply_content, apply_content_end, apply_data
from postwarden.receive.commands.etrn import apply_etrn
from postwarden.receive.commands.hello import apply_hello
from postwarden.receive.commands.mail import apply_mail
from postwarden.receive.commands.noop import apply_auth, apply_noop, apply_quit, apply_reset
from postwarden.receive.commands.rcpt import apply_rcpt
from postwarden.receive.commands.refused import apply_bare_lf, apply_refused, apply_unknown
from postwarden.receive.commands.starttls import apply_starttls
from postwarden.receive.commands.vrfy import apply_verify
from postwarden.receive.commands.xclient import apply_xclient
from postwarden.receive.commands.xforward import apply_xforward
from postwarden.wire.smtp_events import (
    BareLf,
    Chunk,
    ChunkEnd,
    Content,
    ContentEnd,
    Data,
    Event,
    Hello,
    Mail,
    Rcpt,
    Refused,
    Unknown,
    Verify,
    Word,
)

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_WORDS = MappingProxyType(
    {
        "RSET": apply_reset,
        "NOOP": apply_noop,
        "QUIT": apply_quit,
        "STARTTLS": apply_starttls,
        "ETRN": apply_etrn,
        "AUTH": apply_auth,
        "XCLIENT": apply_xclient,
        "XFORWARD": apply_xforward,
    }
)


def _apply_word(session: "Session", word: Word) -> None:
    _WORDS[word.verb](session, word)


_APPLY: MappingProxyType[type, Callable[["Session", Any], None]] = MappingProxyType(
    {
        Hello: apply_hello,
        Mail: apply_mail,
        Rcpt: apply_rcpt,
        Data: apply_data,
        Content: apply_content,
        ContentEnd: apply_content_end,
        Chunk: apply_chunk,
        ChunkEnd: apply_chunk_end,
        Verify: apply_verify,
        Word: _apply_word,
        Refused: apply_refused,
        Unknown: apply_unknown,
        BareLf: apply_bare_lf,
    }
)


def apply(session: "Session", event: Event) -> None:
    """Judge and do what the client said. Raises Pending where policy lacks a fact; then nothing was done yet."""
    _APPLY[event.__class__](session, event)
