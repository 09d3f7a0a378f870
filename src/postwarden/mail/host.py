"""A server to which mail can be handed: what routing finds, and what deliver connects to."""

from msgspec import Struct


class Host(Struct, frozen=True, array_like=True):
    """One address of one server, in the order in which they are to be tried.

    Without `path` it is reached over TCP; with it, over the Unix socket of that name (lmtp), and `address` is empty.
    """

    name: str
    """As the log prints it before `[address]:port`; a destination that was given by address has that as name."""
    address: str
    port: int
    preference: int = 0
    """Of the MX record; 0 where there was none."""
    best: bool = True
    """No other host of this destination is preferred to it."""
    secure: bool = False
    """Each DNS answer on the way here was validated (AD bit from a resolver that may be believed)."""
    domain: str = ""
    """Next-hop domain without brackets and port: what TLS policy and the certificate check stand on."""
    destination: int = 0
    """Place of its destination in a next hop that lists more than one, fallback relays at the end."""
    path: str = ""
