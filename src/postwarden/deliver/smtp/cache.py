"""Connections that rest between two messages."""

from collections.abc import Callable

from postwarden.deliver.smtp.session import Session


class SessionCache:
    """A `session.Keeper`: the idle connections of one transport, by next hop. Those that were used last are used
    first, so that the others reach their end in peace."""

    def __init__(self) -> None:
        self._idle: dict[str, list[Session]] = {}
        self._open: dict[Session, str] = {}
        self._closing = False
        self.on_gone: Callable[[Session], None] = lambda session: None
        """Hears of each session that is gone."""

    def begin(self, session: Session, nexthop: str) -> None:
        """A new connection; under this name it will rest."""
        self._open[session] = nexthop

    def take(self, nexthop: str) -> Session | None:
        """A connection that can be used at once."""
        idle = self._idle.get(nexthop)
        while idle:
            session = idle.pop()
            if not idle:
                del self._idle[nexthop]
            if session.reusable():
                return session
            session.quit()
        return None

    def close(self) -> None:
        """Say QUIT over all that rest, and from now on over each that would rest."""
        self._closing = True
        for idle in list(self._idle.values()):
            for session in list(idle):
                session.quit()

    # session.Keeper

    def keep(self, session: Session) -> bool:
        nexthop = self._open.get(session)
        if nexthop is None or self._closing:
            return False
        self._idle.setdefault(nexthop, []).append(session)
        session.rest()
        return True

    def forget(self, session: Session) -> None:
        nexthop = self._open.pop(session, None)
        if nexthop is None:
            return
        self.on_gone(session)
        idle = self._idle.get(nexthop)
        if idle is not None and session in idle:
            idle.remove(session)
            if not idle:
                del self._idle[nexthop]
