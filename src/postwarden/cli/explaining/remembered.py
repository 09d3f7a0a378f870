"""What address verification remembers, for who explains: its cache is read, nobody is asked and no probe is sent."""

import time
from collections.abc import Callable

from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.mail.date import mail_date
from postwarden.mail.decision import Fact
from postwarden.mail.verified import IN_PROGRESS, OK, SUBJECT, Verified
from postwarden.verify import file
from postwarden.verify.cache import Cache, Known
from postwarden.verify.params import VerifyParams
from postwarden.verify.place import place

_KNOWS = f"{SUBJECT} knows of"


class Remembered:
    """A `policy.outside.AddressVerifier` that tells `facts` what it found. What it does not know is as if a probe were
    under way for longer than the client waits."""

    def __init__(self, settings: Settings, facts: list[Fact], now: Callable[[], float] = time.time) -> None:
        """Raises ConfigError."""
        params = view(VerifyParams, settings)
        self._path = place(params.address_verify_map).path
        self._cache = Cache(params)
        self._facts = facts
        self._now = now

    def ask(self, address: str, seconds: float, done: Callable[[Verified], None]) -> None:
        verified, text = self._look(address)
        wait = f"waits {seconds:g} s for it at most" if seconds else "does not wait for it"
        if verified is None:
            text += f"; the gateway sends a probe, and {wait}"
        self._facts.append(Fact(_KNOWS, address, text))
        done(verified or IN_PROGRESS)

    def _look(self, address: str) -> tuple[Verified | None, str]:
        if not self._path:
            return None, "only the memory of the running gateway knows (address_verify_map)"
        try:
            known = file.find(self._path, address)
        except file.CacheError as error:
            return None, f"{self._path} can't be read: {error}"
        if known is None:
            return None, "nothing yet"
        if self._cache.expired(known, self._now()):
            return None, f"nothing any more: what it knew of {mail_date(known.updated)} has expired"
        found = f"{known.status}, since {mail_date(known.updated)}: {known.text}"
        return Verified(known.status, known.text), found + self._again(known)

    def _again(self, known: Known) -> str:
        """Who reads why mail is refused wants to know for how long."""
        if known.status == OK:
            return ""
        when = known.updated + self._cache.params.address_verify_negative_refresh_time
        after = f"that comes after {mail_date(when)}" if when >= self._now() else "that comes"
        return f"; the first question {after} has it asked for again (address_verify_negative_refresh_time)"
