"""The sender of address probes: mail to it is always heard, or two servers that verify each other's senders would each
refuse the other's probe (address_verify_sender, address_verify_sender_ttl)."""

from msgspec import Struct

from postwarden.mail.decision import BUILT_IN, Rule

HEARD = Rule("the sender of address probes is always heard", "", BUILT_IN)
"""A recipient that it decides on is stored as the answer of the decision's first fact says: of the address that is one
for an hour there is no mailbox, and what is sent there must not become a report to whoever it pretends to come from."""
_DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZ"
"""Base 31, without vowels, so that no word comes about."""


class ProbeSender(Struct, frozen=True):
    address: str
    """In standard form; empty: the null sender."""
    ttl: int = 0
    """Seconds after which the address changes, so that it is worth nothing to who collects addresses; 0: never."""

    def at(self, now: float) -> str:
        """As it is at `now`, in seconds since the epoch."""
        return self._of(int(now) // self.ttl) if self.ttl and self.address else self.address

    def fits(self, address: str, now: float) -> bool:
        """Is `address` one that is the sender at `now`, was it just before, or will be?"""
        local, at, domain = self.address.rpartition("@")
        if not self.address or address[: len(local)].lower() != local.lower():
            return False
        if not address.lower().endswith(f"{at}{domain}".lower()):
            return False
        tail = address[len(local) : len(address) - len(domain) - len(at)]
        if not self.ttl:
            return not tail
        period = int(now) // self.ttl
        # One before, for probes under way and clocks that differ; one after, for the latter.
        return any(tail == _written(number) for number in (period - 1, period, period + 1))

    def _of(self, period: int) -> str:
        local, at, domain = self.address.rpartition("@")
        return f"{local}{_written(period)}{at}{domain}"


def _written(number: int) -> str:
    number, digit = divmod(number, len(_DIGITS))
    text = _DIGITS[digit]
    while number > 0:
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    return text
