"""What main.cf and master.cf hold, line by line."""

from msgspec import Struct

from postwarden.mail.decision import Origin

TRANSPORTS = frozenset(("smtp", "lmtp", "local", "virtual", "pipe", "error", "discard"))
"""Commands that deliver."""


class Entry(Struct, frozen=True, array_like=True):
    """A value as written, and where."""

    value: str
    origin: Origin


class Service(Struct, frozen=True, array_like=True):
    """One entry of master.cf. The fields that are text are as written, `-` where the operator left the default."""

    name: str
    """First column: `smtp`, `127.0.0.1:10025`, `relay`."""
    type: str
    """inet, unix, fifo or pass."""
    private: str
    unprivileged: str
    chroot: str
    wakeup: str
    maxproc: str
    command: str
    arguments: tuple[str, ...]
    """What follows the command, without the `-o` pairs."""
    overrides: dict[str, Entry]
    origin: Origin

    @property
    def key(self) -> str:
        """`smtp/inet`: unique, while a name alone is not."""
        return f"{self.name}/{self.type}"
