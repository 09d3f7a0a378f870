"""How a session begins: the client's name, what it is exempt from, how many it is, and the banner."""

from typing import TYPE_CHECKING

from postwarden.mail.decision import Pending
from postwarden.mail.events import Connected
from postwarden.mail.session import SessionFacts
from postwarden.net.peername import PeerName, client_address
from postwarden.receive.commands.refused import notice_early
from postwarden.receive.commands.starttls import log_tls
from postwarden.receive.counters import TLS_SESSIONS
from postwarden.receive.rates import too_many, too_many_connections

if TYPE_CHECKING:
    from postwarden.receive.session import Session


def welcome(session: "Session", peer: PeerName) -> None:
    """The client's name is known: as far as a session that is on hold can go, and on."""
    if session.over:
        return
    stream, service = session.stream, session.service
    client = service.client(peer.name, client_address(stream.peer[0]), stream.peer[1], peer.reverse_name)
    session.facts = SessionFacts(
        client,
        peer.name_status,
        peer.reverse_name_status,
        stream.local[0],
        stream.local[1],
        stream.tls,
        stress=session.mode.stress,
    )
    if peer.warning:
        service.warn(peer.warning)
    service.emit(Connected(client))
    if service.wrapper and stream.tls is None:
        why = "TLS context initialization failed. For details see earlier warnings in your logs."
        service.warn(f"Wrapper-mode request dropped from {client} for service {service.name}. {why}")
        session.end()
        return
    _stand(session)


def _stand(session: "Session") -> None:
    try:
        session.stand_as_client()
    except Pending as pending:
        session.wait(pending, lambda: _stand(session))
        return
    except Exception:
        session.broken()
        return
    stream, client = session.stream, session.facts.client
    if stream.tls is not None:
        session.machine.secure = True
        log_tls(session, stream.tls)
    if too_many_connections(session, client):
        session.hang_up(("4.7.0", f"Error: too many connections from {client.address}"))
    elif stream.tls is not None and too_many(session, TLS_SESSIONS):
        session.hang_up(("4.7.0", f"Error: too many new TLS sessions from {client}"))
    else:
        _greet(session)


def _greet(session: "Session") -> None:
    try:
        decision = session.service.judge.connect(session.facts)
    except Pending as pending:
        session.wait(pending, lambda: _greet(session))
        return
    except Exception:
        session.broken()
        return
    if session.machine.early is not None:
        notice_early(session)
        if session.over:
            return
    reply = session.judged(decision, "CONNECT")
    session.answer(session.service.banner if reply is None else reply)
    if reply is not None:
        session.hang_up_after(reply)
    session.resume()
