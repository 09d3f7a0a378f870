"""What all submissions of local users share: who may begin, whose quota is spent, where their lines are logged."""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from postwarden.config.absent import absent_filter
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.mail.events import Notice, PickedUp, Warn, printable
from postwarden.net.clock import Clock
from postwarden.net.log import Log
from postwarden.net.waiting import Waiting
from postwarden.receive.counters import MESSAGES, Counters
from postwarden.receive.params import SubmitParams
from postwarden.receive.ports import Prepare, Recorder, Store
from postwarden.receive.received import Dates
from postwarden.receive.users import Users
from postwarden.tables.opening import Tables
from postwarden.wire.submission import Line

_SESSIONS, _EACH = 100, 20
"""At once: of all users, and of one. Each may hold an envelope of megabytes. The others wait to be greeted, and who
waits too long leaves his message in the maildrop directory instead."""
_WAITING, _WAITING_EACH = 1000, 200
_LINES = 10_000
"""Of the log, in an hour, by one user's commands."""
_AUTODETECT = ("sendmail", "all")


class Guest(Protocol):
    """A session, as it is seen from here."""

    peer: int

    def admitted(self) -> None:
        """There is a place."""

    def turned_away(self) -> None:
        """There is not even room to wait."""


class SubmitService:
    """What all submissions share."""

    def __init__(
        self,
        settings: Settings,
        tables: Tables,
        *,
        clock: Clock,
        log: Log,
        store: Store,
        prepare: Prepare,
        waiting: Waiting,
        counters: Counters | None,
        login: Callable[[int], str],
        trusted: int,
        relay: Callable[[str, str], None],
    ) -> None:
        """`counters` counts by the hour; `login` gives the name of a uid, or an empty one; `trusted` is the uid of the
        mail system; `relay` puts a line (level, text) of a user's command into the log. Raises ConfigError."""
        service = settings.find_service("pickup")
        key = service.key if service is not None else ""
        self.params = view(SubmitParams, settings, key)
        self.clock, self.log, self.store, self.prepare = clock, log, store, prepare
        self.waiting, self.counters, self.trusted = waiting, counters, trusted
        self._relay = relay
        self.recorder: Recorder | None = None
        """None: nothing is kept of decisions."""
        self.users = Users(settings, key, self.params, tables, login)
        self.profile = self.params.cleanup_service_name
        self.absent = absent_filter(settings, key, local=True)
        self.content_filter = self.params.content_filter
        self.syslog_name = settings.text("syslog_name", key)
        self.dates = Dates()
        self.sessions: set[Guest] = set()
        self._waiting: deque[Guest] = deque()
        found = self.params.smtputf8_autodetect_classes
        self.detects_utf8 = self.params.smtputf8_enable and any(word.lower() in _AUTODETECT for word in found)

    def enter(self, session: "Guest") -> None:
        """Admit it, now or when there is a place for its user."""
        if self._has_place(session):
            self.sessions.add(session)
            session.admitted()
        elif self._may_wait(session):
            self._waiting.append(session)
        else:
            session.turned_away()

    def leave(self, session: "Guest") -> None:
        """It is over, and somebody else may begin."""
        if session not in self.sessions:
            with contextlib.suppress(ValueError):
                self._waiting.remove(session)
            return
        self.sessions.discard(session)
        for waiting in self._waiting:
            if self._has_place(waiting):
                self._waiting.remove(waiting)
                self.sessions.add(waiting)
                # Not from within: whoever leaves is in the midst of something.
                self.clock.call_soon(waiting.admitted)
                return

    def _has_place(self, session: "Guest") -> bool:
        if session.peer in (0, self.trusted):
            return len(self.sessions) < _SESSIONS
        mine = sum(one.peer == session.peer for one in self.sessions)
        return mine < _EACH and len(self.sessions) < _SESSIONS - _EACH

    def _may_wait(self, session: "Guest") -> bool:
        mine = sum(one.peer == session.peer for one in self._waiting)
        return mine < _WAITING_EACH and len(self._waiting) < _WAITING

    def emit(self, event: Notice | PickedUp) -> None:
        self.log.emit("pickup", event, self.syslog_name)

    def log_line(self, uid: int, line: Line) -> None:
        """What a command of that user has to say, so that the operator sees it; not without end."""
        if self._may_log(uid):
            self._relay(line.level, printable(line.text))

    def complain(self, uid: int, text: str) -> None:
        """Of what that user has sent; not without end either."""
        if self._may_log(uid):
            self.emit(Warn(text))

    def _may_log(self, uid: int) -> bool:
        if self.counters is None or not uid:
            return True
        count = self.counters.count("log", str(uid), self.clock.now(), MESSAGES)
        if count == _LINES + 1:
            self.emit(Warn(f"uid={uid}: more than {_LINES} log lines in an hour: the others are dropped"))
        return count <= _LINES

    def over_quota(self, uid: int) -> str:
        """Counts a message. Why it may not come now; empty: it may. Root has no quota, since nothing keeps root in."""
        limit = self.params.postwarden_submit_limit
        if not limit or not uid or self.counters is None:
            return ""
        count = self.counters.count("submit", str(uid), self.clock.now(), MESSAGES)
        if count <= limit:
            return ""
        if count == limit + 1:
            self.emit(Warn(f"uid={uid}: more than {limit} messages in an hour (postwarden_submit_limit)"))
        return f"uid {uid} has sent {limit} messages in this hour (postwarden_submit_limit): try again later"
