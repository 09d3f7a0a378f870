"""Rewriting and resolving, address by address, as trivial-rewrite(8) does it."""

import pytest
from tests.rewrite_service import Judges, needs_postfix

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import AddressClass, open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.view import view
from postwarden.mail.address import external, internal
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

CLASSES = {
    AddressClass.LOCAL: 1 << 8,
    AddressClass.VIRTUAL_ALIAS: 1 << 9,
    AddressClass.VIRTUAL_MAILBOX: 1 << 10,
    AddressClass.RELAY: 1 << 11,
    AddressClass.DEFAULT: 1 << 12,
}
ROUTED, ERROR = 2, 4

LOCAL_PARTS = r"""
foo foo+ext a%b.c a!b a!b!c x%y%z x%y a@b a@b.c postmaster .foo foo. fo..o a"b a\b @x:y site!user%host a% %a !a a! !
u%sub.rel.example u%virt.example u%[127.0.0.1] a,b a(b a<b a:b b; ü fo'o a%b@c.d A%B.C a/b -foo |foo /f double-bounce
[1.2.3.4] a%b!c a@ u%mx.example.com%far.example p%q%mx.example.com a..b@mx.example.com
"""
DOMAINS = """
mx.example.com MX.Example.COM example.com localhost rel.example sub.rel.example virt.example mbox.example far.example
far.example. FAR.Example Rel.Example host [127.0.0.1] [1.2.3.4] 1.2.3.4 [192.0.2.1] [ipv6:::1] [IPv6:2001:db8::1]
bad_dom.example -bad.example a..b .x.example x.example.. [foo] [] maps.example sub.maps.example dot.example
s.dot.example err.example nh.example tr.example empty.example user.example müller.example foo.123 123 1.2.3
*.example [::1] localhost. err2.example ipv6:::1 x.rel.example. moved.example
"""
TRANSPORTS = (
    "{maps.example=smtp:[gw.example]:26} {.dot.example=relay:dotgw} {err.example=error:5.7.9 go away}"
    " {err2.example=error:plain text} {nh.example=:nexthop.example} {tr.example=slow} {empty.example=:}"
    " {user+ext@user.example=one:two} {user@user.example=three:four} {foo@user.example=five:} {localhost=smtp:lh}"
    " {foo+ext@far.example=fe:xt} {mx.example.com=:mynext} {mbox.example=lmtp:unix:/x} {.rel.example=:sub}"
    " {virt.example=:vnext}"
)
BASE = {
    "relay_domains": "rel.example",
    "virtual_alias_domains": "virt.example",
    "virtual_mailbox_domains": "mbox.example",
    "virtual_mailbox_maps": "inline:{a@mbox.example=x}",
    "recipient_delimiter": "+",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
}
CONFIGURATIONS = {
    "plain": {},
    "transport maps": {"transport_maps": f"inline:{{{TRANSPORTS}}}"},
    "wildcard, moved": {
        "transport_maps": f"inline:{{{TRANSPORTS} *=starry:hop}}",
        "relocated_maps": "inline:{{@moved.example=new@place.example} {foo@far.example=other@place.example}}",
    },
    "relayhost": {"relayhost": "[gw.example]:587", "relay_transport": "relay:relgw", "append_dot_mydomain": "yes"},
    "lenient": {
        "swap_bangpath": "no",
        "allow_percent_hack": "no",
        "resolve_numeric_domain": "yes",
        "resolve_null_domain": "yes",
        "local_transport": "lmtp:unix:private/lm",
    },
    "quotes kept": {"resolve_dequoted_address": "no"},
}


def addresses(name: str) -> list[str]:
    local_parts, domains = LOCAL_PARTS.split(), ("", *DOMAINS.split())
    every = [*local_parts, *(f"{local}@{domain}" for local in local_parts for domain in domains)]
    every += ["a b", "a b@far.example", "@far.example", "@", "@mx.example.com", "a b!c@localhost"]
    if name == "quotes kept":
        # Postfix itself writes such a local part back without the quotes that it was told to keep.
        every = [address for address in every if not address.startswith("@x:y")]
    return [address for address in every if (name, address) != ("lenient", "@x:y@")]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_address_goes_where_postfix_sends_it(name: str) -> None:
    chosen = BASE | CONFIGURATIONS[name]
    ours = settings("", **chosen)
    rewriter, resolver = Rewriter(view(RewriteParams, ours)), open_resolver(ours, Tables.of(ours))
    wrong = []
    with Judges(**chosen) as judges:
        for address in addresses(name):
            expected = internal(judges.rewrite(external(address)))
            if rewriter.rewrite(address) != expected:
                wrong.append((address, "rewritten", expected, rewriter.rewrite(address)))
            if not expected:
                continue
            transport, nexthop, recipient, flags = judges.resolve(expected)
            found = resolver.resolve(address)
            if flags & ERROR:
                transport, nexthop, flags = "error", "5.1.3 bad address syntax", flags & ~ROUTED
            theirs = (transport, nexthop, recipient, flags & (0x1F00 | ROUTED | ERROR))
            bits = CLASSES[found.address_class] | (ROUTED if found.routed else 0) | (ERROR if found.bad else 0)
            if theirs != (found.transport, found.nexthop, found.recipient, bits):
                wrong.append((address, "resolved", theirs, found))
    assert not wrong
