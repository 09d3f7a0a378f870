"""Under which name a client is counted: its network (smtpd_client_ipv4_prefix_length and its like). Whoever has a
/64 of IPv6 has more addresses than any limit could know."""

from ipaddress import ip_network


class Networks:
    def __init__(self, ipv4: int, ipv6: int) -> None:
        """Bits of an address that count."""
        self._ipv4, self._ipv6 = ipv4, ipv6

    def __call__(self, address: str) -> str:
        """What is no address counts as it is."""
        bits = self._ipv6 if ":" in address else self._ipv4
        if bits >= (128 if ":" in address else 32):
            return address
        try:
            return str(ip_network((address, bits), strict=False))
        except ValueError:
            return address
