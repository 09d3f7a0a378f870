"""What the common refusals of other servers mean, and what helps. They are told by words: codes differ too much."""

import re

from msgspec import Struct

from postwarden.explain.ways import LOOP_CURE


class Meaning(Struct, frozen=True):
    means: str
    cure: str


_KNOWN: tuple[tuple[str, Meaning], ...] = (
    (
        r"loops back to myself",
        Meaning("the mail would be sent to this machine again, which does not deliver it here", LOOP_CURE),
    ),
    (
        r"gr[ae]y.?list|postgrey|try again (?:later|in)|temporarily deferred|come back later",
        Meaning("the other server puts unknown senders off for a while (greylisting)", "nothing: it is tried again"),
    ),
    (
        r"\bptr\b|reverse (?:dns|hostname|lookup)|rdns|cannot find your (?:reverse )?hostname|does not resolve",
        Meaning(
            "this machine's public address has no name in DNS, or one that does not lead back to it",
            "have whoever gave you the address set its PTR record to myhostname, and give myhostname that address",
        ),
    ),
    (
        r"\bspf\b|sender policy|not (?:designated|authorized|permitted) (?:as )?(?:permitted )?(?:sender|to send)",
        Meaning(
            "the sender's domain does not name this machine's address in its SPF record",
            "add the address to the domain's SPF record, or send through a server that it names",
        ),
    ),
    (
        r"\bdmarc\b",
        Meaning(
            "the domain in From: asks others (DMARC) to refuse mail that neither SPF nor DKIM shows to be its own",
            "sign with DKIM for that domain, or send from a server that its SPF record names",
        ),
    ),
    (
        r"\bdkim\b",
        Meaning("the message has no DKIM signature that the other server accepts", "sign mail of that domain"),
    ),
    (
        r"spamhaus|barracuda|spamcop|\b(?:rbl|dnsbl|block ?list|black ?list)|blocked using|poor reputation",
        Meaning(
            "this machine's public address is on a blocklist that the other server asks",
            "see the list's page for why, stop what caused it, and ask to be taken off",
        ),
    ),
    (
        r"mailbox (?:is )?full|over ?quota|quota exceeded|insufficient (?:system )?storage|out of storage",
        Meaning("the recipient's mailbox is full", "nothing here: the recipient has to make room; it is tried again"),
    ),
    (
        r"starttls|must (?:use|issue) (?:a )?(?:tls|starttls)|encryption (?:is )?required|require(?:s)? tls",
        Meaning("the other server takes mail over TLS only", "set smtp_tls_security_level = may, or encrypt for it"),
    ),
    (
        r"too many (?:connections|messages|recipients|emails)|rate.?limit|throttl|exceeded.{0,30}(?:rate|limit)",
        Meaning(
            "the other server wants fewer messages or connections in a time",
            "lower smtp_destination_concurrency_limit or set smtp_destination_rate_delay; it is tried again",
        ),
    ),
    (
        r"user (?:is )?unknown|no such (?:user|mailbox|recipient)|unknown (?:user|recipient)|does not exist|"
        r"recipient (?:address )?rejected|mailbox (?:unavailable|not found)|invalid recipient",
        Meaning("the other server does not know the recipient", "correct the address"),
    ),
    (
        r"relay(?:ing)? (?:access )?denied|not permitted to relay|unable to relay",
        Meaning(
            "the other server does not take mail for that domain from this machine",
            "log in there (smtp_sasl_auth_enable), or correct relayhost or transport_maps",
        ),
    ),
    (
        r"message (?:size|too (?:big|large))|exceeds (?:size|maximum|fixed)",
        Meaning("the message is larger than the other server takes", "send less, or a link"),
    ),
    (
        r"host or domain name not found|domain not found|name service error",
        Meaning("DNS knows no server for the recipient's domain", "correct the domain; or see to the resolver"),
    ),
    (
        r"connection (?:refused|timed out)|no route to host|network is unreachable|connect to .{1,200}: ",
        Meaning(
            "the other server can't be reached",
            "if all servers are so, this machine's provider blocks port 25: use a relayhost; else it is tried again",
        ),
    ),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), meaning) for pattern, meaning in _KNOWN)


def meaning(code: str, text: str) -> Meaning | None:
    """Of a reply or log text; `code` is the enhanced status code (RFC 3463). None: nothing is known of it."""
    for pattern, known in _PATTERNS:
        if pattern.search(text):
            return known
    if code in ("4.2.2", "5.2.2"):
        return _KNOWN[7][1]
    return _KNOWN[10][1] if code == "5.1.1" else None
