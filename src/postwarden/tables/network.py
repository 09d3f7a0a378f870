"""Networks and addresses as numbers: `192.0.2.0/24`, `[2001:db8::]/32`, `192.0.2.[1..7]` is none of them."""

import ipaddress
from functools import lru_cache

from msgspec import Struct


class NetworkError(ValueError):
    """No network, or one with host bits set; `meant` is it without them."""

    def __init__(self, text: str, meant: "Network | None" = None) -> None:
        super().__init__(text)
        self.meant = meant


class Network(Struct, frozen=True):
    version: int
    bits: int
    mask: int

    @classmethod
    def parse(cls, text: str) -> "Network":
        """An address, or address/length; IPv6 with or without brackets. Raises NetworkError."""
        address, slash, length = text.partition("/")
        if address.startswith("["):
            bits = address_bits(address[1:-1]) if address.endswith("]") else None
        else:
            bits = address_bits(address)
        if bits is None:
            raise NetworkError(f'bad address pattern: "{text[:80]}"')
        version, value = bits
        width = 32 if version == 4 else 128
        if not slash:
            return cls(version, value, (1 << width) - 1)
        if not (length.isascii() and length.isdigit() and len(length) < 4 and int(length) <= width):
            raise NetworkError(f'bad network/mask pattern: "{text[:80]}"')
        mask = ((1 << int(length)) - 1) << (width - int(length))
        if value & ~mask:
            right = f"{_printed(version, value & mask)}/{length}"
            said = f'non-null host address bits in "{text[:80]}", perhaps you should use "{right}" instead'
            raise NetworkError(said, cls(version, value & mask, mask))
        return cls(version, value, mask)

    def holds(self, address: tuple[int, int]) -> bool:
        return address[0] == self.version and address[1] & self.mask == self.bits


@lru_cache(maxsize=4096)  # the lists of one session ask for the same client, 3 µs each time
def address_bits(text: str) -> tuple[int, int] | None:
    """(4 or 6, the address as a number); None for what is no address. An IPv4-mapped address stays IPv6."""
    try:
        if ":" not in text:
            return 4, int(ipaddress.IPv4Address(text))
        return 6, int(ipaddress.IPv6Address(text.partition("%")[0]))
    except ValueError:
        return None


def _printed(version: int, value: int) -> str:
    return str(ipaddress.IPv4Address(value) if version == 4 else ipaddress.IPv6Address(value))
