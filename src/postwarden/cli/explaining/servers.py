"""Policy servers of a session that is only played. They count what they are asked, and put unknown senders off until
they come again (greylisting): to ask them would change what they say to the real client."""

from collections.abc import Callable

from postwarden.mail.decision import Fact
from postwarden.net.policy_client import Endpoint, Limits
from postwarden.policy.outside import Server, Services

NO_OBJECTION = "DUNNO"


class Servers:
    """`policy.outside.Services`; `unasked` are the names of those that would have been asked."""

    def __init__(self, behind: Services | None, facts: list[Fact]) -> None:
        """`behind`: the real ones; None: nobody is asked, and has no objection."""
        self._behind = behind
        self._facts = facts
        self.unasked: dict[str, None] = {}

    def server(self, endpoint: Endpoint, limits: Limits) -> Server:
        real = None if self._behind is None else self._behind.server(endpoint, limits)
        return _Server(self, endpoint.name, real)

    def new_instance(self) -> str:
        return "explained" if self._behind is None else self._behind.new_instance()

    def note(self, name: str, said: str) -> None:
        self._facts.append(Fact("policy server", name, said))


class _Server:
    def __init__(self, servers: Servers, name: str, real: Server | None) -> None:
        self._servers, self._name, self._real = servers, name, real

    def ask(self, data: bytes, instance: str, done: Callable[[str | None], None]) -> None:
        if self._real is None:
            self._servers.unasked.setdefault(self._name)
            self._servers.note(self._name, f"not asked, and taken to say {NO_OBJECTION}")
            done(NO_OBJECTION)
        else:
            self._real.ask(data, instance, lambda action: self._answered(action, done))

    def _answered(self, action: str | None, done: Callable[[str | None], None]) -> None:
        self._servers.note(self._name, "no answer" if action is None else action)
        done(action)
