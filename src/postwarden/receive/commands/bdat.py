"""BDAT (RFC 3030). A chunk that is refused is read to its end, since its bytes are already on their way; the reply
comes then, and the machine knows that the rest of the message is to be thrown away."""

from typing import TYPE_CHECKING

from postwarden.mail.reply import Reply
from postwarden.receive.commands.data import TOO_BIG, begin_content
from postwarden.receive.commands.refused import refuse_bare_lf, reports_bare_lf
from postwarden.receive.delivery import deliver
from postwarden.wire.smtp_events import Chunk, ChunkEnd

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_NULL_CHUNK = Reply(551, "5.7.1", "Null BDAT request")
_CHUNK_TOO_BIG = Reply(552, "5.3.4", "Chunk exceeds message size limit")
_FAR_TOO_BIG = Reply(521, "5.3.4", "Chunk far exceeds message size limit")


def apply_chunk(session: "Session", chunk: Chunk) -> None:
    transaction = session.transaction
    assert transaction is not None
    session.where = "BDAT"
    if transaction.intake is None:
        refusal = session.judged(session.service.judge.data(transaction.facts()), "DATA")
        begin_content(session, transaction)
        if refusal is not None:
            transaction.spoiled = refusal
            return
    queue_id, limit = transaction.queue_id, session.params.message_size_limit
    if chunk.size == 0 and not chunk.last:
        session.warn(f"{queue_id}: null BDAT request from ", "")
        transaction.spoiled = _NULL_CHUNK
    elif 0 < limit < chunk.size:
        session.warn(f"{queue_id}: BDAT request from ", " exceeds message size limit")
        transaction.spoiled = _CHUNK_TOO_BIG
        if chunk.size > session.mode.options.discard_limit:
            session.answer(_FAR_TOO_BIG, "BDAT")
            session.end()


def apply_chunk_end(session: "Session", end: ChunkEnd) -> None:
    transaction = session.transaction
    assert transaction is not None and transaction.intake is not None
    refusal = transaction.spoiled
    if refusal is None and transaction.intake.over:
        refusal = TOO_BIG
    if refusal is None and end.bare_lf and reports_bare_lf(session):
        refusal = refuse_bare_lf(session, "BDAT content")
    if refusal is not None:
        session.answer(refusal, "BDAT")
        session.hang_up_after(refusal)
    elif end.last:
        session.where = "END-OF-MESSAGE"
        deliver(session, transaction, "BDAT", f"{transaction.intake.size} bytes ")
    else:
        session.answer(Reply(250, "2.0.0", f"Ok: {end.size} bytes"), "BDAT")
