"""The order of SRV records (RFC 2782): pure."""

import random
from collections.abc import Sequence

from postwarden.mail.status import Status
from postwarden.wire.dns import Record


def service_name(service: str, domain: str) -> str:
    return f"_{service}._tcp.{domain}"


def arranged(records: Sequence[Record], rng: random.Random) -> list[Record]:
    """By priority; within one, each is first with a chance that is its weight, those of weight 0 with next to none."""
    ordered: list[Record] = []
    for priority in sorted({record.preference for record in records}):
        left = sorted((record for record in records if record.preference == priority), key=lambda r: r.weight)
        while left:
            at = _chosen([record.weight for record in left], rng)
            ordered.append(left.pop(at))
    return ordered


def _chosen(weights: list[int], rng: random.Random) -> int:
    wanted, total = rng.randint(0, sum(weights)), 0
    for at, weight in enumerate(weights):
        total += weight
        if total >= wanted:
            return at
    raise AssertionError("the last total is the sum")


def not_offered(service: str, domain: str) -> Status:
    """The only target is the root: decidedly not available (RFC 2782)."""
    return Status("5.1.0", f"Domain {domain} does not offer service {service} (null SRV)")
