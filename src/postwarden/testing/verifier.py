"""A `policy.outside.AddressVerifier` that was told what it knows."""

from collections.abc import Callable, Mapping

from postwarden.mail.verified import IN_PROGRESS, Verified


class FakeVerifier:
    """Answers at once; whom it does not know is being probed for longer than anybody waits."""

    def __init__(self, known: Mapping[str, Verified], otherwise: Verified = IN_PROGRESS) -> None:
        self.known = dict(known)
        self.asked: list[tuple[str, float]] = []
        """Addresses, and how long their client would have waited."""
        self._otherwise = otherwise

    def ask(self, address: str, seconds: float, done: Callable[[Verified], None]) -> None:
        self.asked.append((address, seconds))
        done(self.known.get(address, self._otherwise))
