"""The states of an SMTP session and every legal step between them (RFC 5321 3, 4.1.4; RFC 3207; RFC 3030).

This file does not know which end it is asked for. The server looks whether a command is legal before it judges it,
and both ends move by the reply: the server by the one it sends, the client by the one it reads. So the two can't
disagree, and either tests the other.

A step is an event in a state. Events are the commands by their verb, and four things that are no command:
`BANNER` (the server's first reply), `TLS` (the handshake is over), `END` (the reply
to the content of DATA) and `LAST` (a BDAT that says LAST).

Two rules carry the security of the whole:
- Content is accepted in `RCPT` and `CHUNKS` only (`SPOILED` throws away what it gets), and `RCPT` is reached only by a
  recipient that was accepted after a sender that was accepted. There is no other way in, whatever failed before.
- What ends a transaction, well or badly (END, LAST, a refused DATA or BDAT, RSET, EHLO, TLS), leads out of all states
  that have one. There is nothing to reset: the transaction is a value that exists only in `MAIL`, `RCPT`, `DATA` and
  `CHUNKS`.

An event that is not listed for a state is out of order: the server refuses it and both ends stay where they are.
Exception of the client: a server which says 354 to a pipelined DATA though it refused each recipient has to be given
an empty message (RFC 2920 3.1); the client does that by itself, since no state allows it.
"""

from enum import IntEnum


class State(IntEnum):
    CONNECTED = 0
    """The connection stands, the server has not spoken. Nothing may be sent to it."""
    REFUSED = 1
    """The banner was 4xx or 5xx: QUIT is all that is left (RFC 5321 3.1)."""
    GREETED = 2
    """No HELO yet, or none since TLS or XCLIENT began the session anew."""
    READY = 3
    MAIL = 4
    """A sender is accepted, no recipient yet."""
    RCPT = 5
    """At least one recipient is accepted."""
    DATA = 6
    """354 was said; content follows, up to its final dot."""
    CHUNKS = 7
    """At least one BDAT without LAST was accepted."""
    SPOILED = 8
    """A BDAT was refused: there is no transaction any more, and the chunks that the client had pipelined are thrown
    away, up to LAST, RSET or EHLO (RFC 3030 2)."""
    HANDSHAKE = 9
    """220 was said to STARTTLS."""
    LOGIN = 10
    """334 was said to AUTH."""
    CLOSED = 11


BANNER, TLS, END, LAST = "<banner>", "<tls>", "<end>", "<last>"

_ANYWHERE = (State.GREETED, State.READY, State.MAIL, State.RCPT, State.CHUNKS, State.SPOILED)
_IDLE = (State.GREETED, State.READY)


def _steps() -> dict[State, dict[str, tuple[State, State]]]:
    """(state, event): (next state when the reply is 2xx or 3xx, next state when it is 4xx or 5xx)."""
    s = State
    table: dict[State, dict[str, tuple[State, State]]] = {state: {} for state in State}
    table[s.CONNECTED][BANNER] = (s.GREETED, s.REFUSED)
    table[s.REFUSED]["QUIT"] = (s.CLOSED, s.CLOSED)
    table[s.HANDSHAKE][TLS] = (s.GREETED, s.CLOSED)
    table[s.DATA][END] = (s.READY, s.READY)
    for state in _ANYWHERE:
        step = table[state]
        idle = state if state in _IDLE else s.READY
        for verb in ("EHLO", "HELO", "LHLO"):
            # RFC 5321 4.1.4: a refused EHLO changes nothing.
            step[verb] = (s.READY, state)
        for verb in ("NOOP", "VRFY", "EXPN", "HELP"):
            step[verb] = (state, state)
        step["RSET"] = (idle, idle)
        step["QUIT"] = (s.CLOSED, s.CLOSED)
    for state in _IDLE:
        step = table[state]
        step["MAIL"] = (s.MAIL, state)
        step["ETRN"] = (state, state)
        step["AUTH"] = (state, state)
        step["XFORWARD"] = (state, state)
        # What XCLIENT says replaces the client: the session begins anew, and the banner is the reply.
        step["XCLIENT"] = (s.GREETED, state)
    table[s.LOGIN]["AUTH"] = (s.READY, s.READY)
    for state in (*_IDLE, s.MAIL, s.RCPT):
        table[state]["STARTTLS"] = (s.HANDSHAKE, state)
    for state in (s.MAIL, s.RCPT):
        table[state]["RCPT"] = (s.RCPT, state)
    table[s.RCPT]["DATA"] = (s.DATA, s.READY)
    for state in (s.RCPT, s.CHUNKS):
        table[state]["BDAT"] = (s.CHUNKS, s.SPOILED)
        table[state][LAST] = (s.READY, s.READY)
    table[s.SPOILED]["BDAT"] = (s.SPOILED, s.SPOILED)
    table[s.SPOILED][LAST] = (s.READY, s.READY)
    return table


STEPS = _steps()
"""state -> event -> (next state after a 2xx or 3xx reply, next state after a 4xx or 5xx reply)."""

VERBS = frozenset(verb for steps in STEPS.values() for verb in steps if not verb.startswith("<"))

IN_TRANSACTION = frozenset((State.MAIL, State.RCPT, State.DATA, State.CHUNKS))


def legal(state: State, event: str) -> bool:
    return event in STEPS[state]


def after(state: State, event: str, code: int) -> State:
    """The state after `event` was answered with `code`. An event that is out of order changes nothing, whatever the
    answer; 421 closes from everywhere (RFC 5321 3.8); 334 to AUTH asks for more."""
    if code == 421:
        return State.CLOSED
    step = STEPS[state].get(event)
    if step is None:
        return state
    if event == "AUTH" and code == 334:
        return State.LOGIN
    return step[0] if code < 400 else step[1]
