"""Whether mail to an address can be delivered, as far as is known (address verification)."""

from msgspec import Struct

OK = "ok"
"""A probe was accepted."""
DEFER = "defer"
"""The last probe was put off."""
BOUNCE = "bounce"
"""The last probe was refused for good."""
TODO = "todo"
"""Nothing is known yet; a probe is under way."""
FAIL = "fail"
"""Nobody could be asked: never a reason to take the address."""


SUBJECT = "address verification"
"""Of a `mail.decision.Fact` about it, whose answer is the word and the text."""


class Verified(Struct, frozen=True):
    status: str
    """One of the words above."""
    text: str = ""
    """What the probe met, as the log has it: `host mx[192.0.2.1] said: 550 …`; no line ends."""


IN_PROGRESS = Verified(TODO, "Address verification in progress")
UNASKED = Verified(FAIL, "")
