"""Random configurations, addresses, senders: class, transport, next hop and address as trivial-rewrite(8) has them."""

import random

import pytest
from tests.interop.test_resolving import CLASSES, DOMAINS, ERROR, LOCAL_PARTS, ROUTED
from tests.rewrite_service import Judges, needs_postfix

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import AddressResolver, open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.view import view
from postwarden.mail.address import external, internal
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError
from postwarden.testing.config import settings

pytestmark = [needs_postfix, pytest.mark.postfix]

FAILED = 8
_NAMES = ["foo", "foo+ext", "user", "user+x", "a.b", "u", "ü", "postmaster", "foo-ext", "1"]
_PLACES = [
    "mx.example.com", "example.com", "localhost", "rel.example", "sub.rel.example", "virt.example", "mbox.example",
    "far.example", "s.far.example", "other.example", "[127.0.0.1]", "[192.0.2.1]", "müller.example",
]  # fmt: skip
_TRANSPORTS = "smtp relay: slow:hop :[gw.example]:26 : error:5.7.9_no error local: smtp:far.example,_two lmtp:unix:/x"
_SENDERS_TRANSPORTS = "slow slow:hop DUNNO dunno error:5.7.9_no error smtp:a,_b :hop relay:[gw.example]"
_HOPS = "[gw.example]:587 DUNNO dunno one.example one.example,_two.example a:b"


class Draw:
    """One configuration, and what is asked of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.settings = self._settings()

    def address(self) -> str:
        draw = self.random.random()
        local = self.random.choice(_NAMES if draw < 0.7 else LOCAL_PARTS.split())
        domain = self.random.choice(_PLACES if self.random.random() < 0.7 else DOMAINS.split())
        if draw > 0.95:
            return local
        return f"{local}@{domain.swapcase() if draw < 0.1 else domain}"

    def _settings(self) -> dict[str, str]:
        some = self._some
        chosen = {
            "mydestination": some(["$myhostname", "localhost", "example.com", "localhost.$mydomain", "other.example"]),
            "relay_domains": some(["rel.example", ".s.far.example", "far.example"]),
            "virtual_alias_domains": some(["virt.example"]),
            "virtual_mailbox_domains": some(["mbox.example", "müller.example"]),
            "virtual_mailbox_maps": "inline:{a@mbox.example=x}",
            "transport_maps": self._table(self._keys(domains=True), _TRANSPORTS),
            "relocated_maps": self._table(self._keys(), "moved@new.example") if self._chance(0.3) else "",
            "sender_dependent_default_transport_maps": self._table(self._keys(), _SENDERS_TRANSPORTS),
            "sender_dependent_relayhost_maps": self._table(self._keys(), _HOPS),
            "relayhost": self.random.choice(["", "", "[relay.example]:587", "relay.example", "r1.example, r2.example"]),
            "default_transport": self.random.choice(["smtp", "slow", "smtp:[out.example]", "error:5.7.1 no mail"]),
            "relay_transport": self.random.choice(["relay", "relay:rhop", "lmtp"]),
            "virtual_transport": self.random.choice(["virtual", "lmtp:unix:private/lm"]),
            "local_transport": self.random.choice(["local:$myhostname", "local", "lmtp:unix:private/lm"]),
            "recipient_delimiter": self.random.choice(["", "+", "+", "-", "+-"]),
            "parent_domain_matches_subdomains": some(["relay_domains", "transport_maps", "mydestination"]),
            "myorigin": self.random.choice(["$myhostname", "example.com"]),
            "empty_address_default_transport_maps_lookup_key": self.random.choice(["<>", "nobody@far.example"]),
            "empty_address_relayhost_maps_lookup_key": self.random.choice(["<>", "@far.example"]),
        }
        for name in (
            "append_dot_mydomain", "append_at_myorigin", "swap_bangpath", "allow_percent_hack",
            "resolve_dequoted_address", "resolve_null_domain", "resolve_numeric_domain",
            "show_user_unknown_table_name", "allow_min_user",
        ):  # fmt: skip
            if self._chance(0.25):
                chosen[name] = self.random.choice(["yes", "no"])
        return chosen | {"inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4"}

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _some(self, words: list[str]) -> str:
        return ", ".join(word for word in words if self._chance(0.6))

    def _keys(self, *, domains: bool = False) -> list[str]:
        keys = ["<>", *_NAMES, *(f"@{place}" for place in _PLACES)]
        keys += [f"{name}@{place}" for name in _NAMES for place in _PLACES]
        if domains:
            keys = [*_PLACES, *(f".{place}" for place in _PLACES), "*", *keys]
        return keys

    def _table(self, keys: list[str], values: str) -> str:
        if self._chance(0.2):
            return ""
        shorter = [key for key in keys if not key.startswith("*") or self._chance(0.3)]
        chosen = self.random.sample(shorter, min(len(shorter), 40))
        words = [word.replace("_", " ") for word in values.split()]
        return f"inline:{{{' '.join(f'{{{key}={self.random.choice(words)}}}' for key in chosen)}}}"


def ours(resolver: AddressResolver, address: str, sender: str) -> tuple[str, str, str, int]:
    found = resolver.resolve(address, sender)
    bits = CLASSES[found.address_class] | (ROUTED if found.routed else 0) | (ERROR if found.bad else 0)
    return found.transport, found.nexthop, found.recipient, bits


def theirs(judges: Judges, address: str, sender: str) -> tuple[str, str, str, int]:
    transport, nexthop, recipient, flags = judges.resolve(address, sender)
    if flags & FAILED:
        return "", "", "", FAILED
    if flags & ERROR:
        return "error", "5.1.3 bad address syntax", recipient, flags & (0x1F00 | ERROR)
    return transport, nexthop, recipient, flags & (0x1F00 | ROUTED)


def explained(draw: Draw, address: str, they: tuple[str, str, str, int]) -> bool:
    """docs/routing.md has it."""
    if address.startswith("@x:y"):
        return draw.settings.get("resolve_dequoted_address") == "no"
    return address.startswith("-") and they[3] == FAILED


def differences(seed: int, questions: int) -> list[object]:
    draw = Draw(seed)
    settings_ = settings("", **draw.settings)
    rewriter, resolver = Rewriter(view(RewriteParams, settings_)), open_resolver(settings_, Tables.of(settings_))
    found: list[object] = []
    with Judges(**draw.settings) as judges:
        for _ in range(questions):
            address, sender = draw.address(), draw.address() if draw.random.random() < 0.9 else ""
            expected = internal(judges.rewrite(external(address)))
            if rewriter.rewrite(address) != expected:
                found.append((address, "rewritten", expected, rewriter.rewrite(address)))
            if not expected:
                continue
            they = theirs(judges, expected, sender)
            try:
                we = ours(resolver, address, sender)
            except TableError:
                we = ("", "", "", FAILED)
            if we != they and not explained(draw, address, they):
                found.append((address, sender, they, we))
    return [draw.settings, *found] if found else []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_configurations(seed: int) -> None:
    assert not differences(seed, 300)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_more_random_configurations(seed: int) -> None:
    assert not differences(seed, 300)
