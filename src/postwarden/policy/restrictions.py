"""The vocabulary of restriction lists: a name, how many arguments it takes, and how it is compiled.

A restriction is compiled once, when the configuration is loaded, into a function of a Question; its Rule says where it
was written. A name that is not in the table is a configuration error, never a permit.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct

from postwarden.addressing.rewrite import without_dot
from postwarden.mail.address import domain_of
from postwarden.mail.decision import Decision, Fact, Origin, Rule
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.policy.access import (
    AccessCheck,
    Keys,
    Style,
    client_keys,
    domain_and_parents,
    helo_keys,
    recipient_keys,
    sender_keys,
)
from postwarden.policy.listed import Listed, Resolver
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Question, Restriction, Subject, permit, refusal, refused
from postwarden.tables.maps import Maps
from postwarden.tables.matching import MatchList


class Means(Struct, frozen=True):
    """What a restriction may ask."""

    params: PolicyParams
    networks: MatchList
    resolver: Resolver
    listed: Listed
    style: Style
    own: frozenset[str]
    """Addresses of this machine."""
    maps: Callable[[str, Origin], Maps]
    """Opens the table that a restriction names. Raises ConfigError."""
    compile_list: Callable[[str, Origin], Restriction]
    """Compiles the restrictions that a table's answer names."""


_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
Compiler = Callable[[Means, Rule], Restriction]


def _permit(means: Means, rule: Rule) -> Restriction:
    decision = permit(rule)
    return lambda question: decision


def _reject(means: Means, rule: Rule) -> Restriction:
    return lambda question: refused(question, rule, means.params.reject_code, "5.7.1", "Access denied")


def _defer(means: Means, rule: Rule) -> Restriction:
    return lambda question: refused(question, rule, means.params.defer_code, "4.3.2", "Try again later")


def _permit_mynetworks(means: Means, rule: Rule) -> Restriction:
    decision = permit(rule)

    def restriction(question: Question) -> Decision | None:
        client = question.facts.client
        return decision if means.networks.match_client(client.name, client.address) else None

    return restriction


def _permit_sasl_authenticated(means: Means, rule: Rule) -> Restriction:
    decision = permit(rule)
    # A name that XCLIENT gives is not a login where logins are off.
    enabled = means.params.smtpd_sasl_auth_enable
    return lambda question: decision if enabled and question.facts.client.login else None


def _auth_destination(means: Means, address: str) -> bool:
    """We are responsible for it (mydestination, virtual_*_domains, relay_domains), and nobody is asked to route it on
    through operators in the local part."""
    resolved = means.resolver.resolve(address)
    if resolved.routed and not means.params.allow_untrusted_routing:
        return False
    return resolved.address_class.final or resolved.address_class.value == "relay"


def _permit_auth_destination(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        if question.recipient is None:
            return None
        return permit(rule) if _auth_destination(means, question.recipient) else None

    return restriction


def _unauth_destination(code: Callable[[PolicyParams], int], status: str) -> Compiler:
    def compiler(means: Means, rule: Rule) -> Restriction:
        def restriction(question: Question) -> Decision | None:
            recipient = question.recipient
            if recipient is None or _auth_destination(means, recipient):
                return None
            fact = Fact("recipient", recipient, "not a destination of ours")
            return refusal(rule, code(means.params), status, f"<{recipient}>: Relay access denied", fact)

        return restriction

    return compiler


def _unlisted_recipient(means: Means, rule: Rule) -> Restriction:
    return means.listed.check_recipient


def _unlisted_sender(means: Means, rule: Rule) -> Restriction:
    return lambda question: means.listed.check(question.about(Subject.SENDER), question.facts.sender or "")


def _access(subject: Subject) -> Compiler:
    def compiler(means: Means, rule: Rule) -> Restriction:
        style, resolver = means.style, means.resolver
        keys: dict[Subject, Keys] = {
            Subject.CLIENT: client_keys(style),
            Subject.HELO: helo_keys(style),
            Subject.SENDER: sender_keys(style, resolver),
            Subject.RECIPIENT: recipient_keys(style, resolver),
            Subject.ETRN: lambda question: (domain_and_parents(question.site, style),),
        }
        return AccessCheck(
            rule,
            means.maps(rule.argument, rule.origin),
            subject,
            style,
            keys=keys[subject],
            resolver=resolver,
            lists=lambda text: means.compile_list(text, rule.origin),
        )

    return compiler


def _non_fqdn_address(subject: Subject) -> Compiler:
    def compiler(means: Means, rule: Rule) -> Restriction:
        def restriction(question: Question) -> Decision | None:
            address = question.recipient if subject is Subject.RECIPIENT else question.facts.sender
            if not address:
                return None
            domain = domain_of(address)
            if domain[:1] == "[" or _qualified(domain):
                return None
            about = question.about(subject)
            return refused(about, rule, means.params.non_fqdn_reject_code, "5.5.2", "need fully-qualified address")

        return restriction

    return compiler


def _qualified(name: str) -> bool:
    """A host's name with a dot in it, not counting one at its end."""
    name = without_dot(name)
    return "." in name and valid_hostname(name if name.isascii() else _NON_ASCII.sub("x", name))


def _bad_literal(means: Means, rule: Rule, question: Question) -> Decision | None:
    helo = question.name
    inner = helo[1:-1] if helo.endswith("]") and len(helo) > 2 else helo
    if inner[:5].lower() == "ipv6:":
        good = ":" in inner[5:] and valid_address(inner[5:])
    else:
        good = ":" not in inner and valid_address(inner)
    if good:
        return None
    return refused(question, rule, means.params.invalid_hostname_reject_code, "5.5.2", "invalid ip address")


def _non_fqdn_helo(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        about = question.about(Subject.HELO)
        name = about.name
        if not name or _qualified(name):
            return None
        if name[0] == "[":
            return _bad_literal(means, rule, about)
        return refused(about, rule, means.params.non_fqdn_reject_code, "5.5.2", "need fully-qualified hostname")

    return restriction


def _invalid_helo(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        about = question.about(Subject.HELO)
        name = about.name
        if not name or valid_hostname(without_dot(name)):
            return None
        if name[0] == "[":
            return _bad_literal(means, rule, about)
        if valid_address(without_dot(name)):
            return None
        return refused(about, rule, means.params.invalid_hostname_reject_code, "5.5.2", "Invalid name")

    return restriction


def _multi_recipient_bounce(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        facts = question.facts
        before = 1 if question.subject in (Subject.DATA, Subject.END_OF_DATA) else 0
        if facts.sender != "" or facts.recipients <= before:
            return None
        code = means.params.multi_recipient_bounce_reject_code
        return refused(question, rule, code, "5.5.3", "Multi-recipient bounce")

    return restriction


def _plaintext_session(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        if question.facts.tls is not None:
            return None
        code = means.params.plaintext_reject_code
        return refusal(rule, code, "4.7.1", "Session encryption is required")

    return restriction


def _defer_if_permit(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        later = refused(question, rule, 450, "4.7.0", "defer_if_permit requested")
        question.marks.defer_if_permit = question.marks.defer_if_permit or later
        return None

    return restriction


def _defer_if_reject(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        later = refused(question, rule, 450, "4.7.0", "defer_if_reject requested")
        question.marks.defer_if_reject = question.marks.defer_if_reject or later
        return None

    return restriction


def _permit_inet_interfaces(means: Means, rule: Rule) -> Restriction:
    decision = permit(rule)
    return lambda question: decision if question.facts.client.address in means.own else None


def _unknown_client(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        facts = question.facts
        if facts.client.name != "unknown":
            return None
        code = 450 if facts.name_status == 4 else means.params.unknown_client_reject_code
        text = f"cannot find your hostname, [{facts.client.address}]"
        return refusal(rule, code, "4.7.25", f"Client host rejected: {text}")

    return restriction


def _unknown_reverse_client(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        facts = question.facts
        if facts.client.reverse_name != "unknown":
            return None
        code = 450 if facts.reverse_name_status == 4 else means.params.unknown_client_reject_code
        text = f"cannot find your reverse hostname, [{facts.client.address}]"
        return refusal(rule, code, "4.7.1", f"Client host rejected: {text}")

    return restriction


def _unauth_pipelining(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        if not question.facts.pipelined:
            return None
        return refused(question, rule, 503, "5.5.0", "Improper use of SMTP command pipelining")

    return restriction


class Entry(Struct, frozen=True):
    compiler: Compiler
    takes_table: bool = False


VOCABULARY: Mapping[str, Entry] = MappingProxyType({
    "permit": Entry(_permit),
    "reject": Entry(_reject),
    "defer": Entry(_defer),
    "permit_mynetworks": Entry(_permit_mynetworks),
    "permit_sasl_authenticated": Entry(_permit_sasl_authenticated),
    "permit_auth_destination": Entry(_permit_auth_destination),
    "reject_unauth_destination": Entry(_unauth_destination(lambda p: p.relay_domains_reject_code, "5.7.1")),
    "defer_unauth_destination": Entry(_unauth_destination(lambda p: p.relay_domains_reject_code - 100, "4.7.1")),
    "reject_unlisted_recipient": Entry(_unlisted_recipient),
    "reject_unlisted_sender": Entry(_unlisted_sender),
    "check_client_access": Entry(_access(Subject.CLIENT), True),
    "check_helo_access": Entry(_access(Subject.HELO), True),
    "check_sender_access": Entry(_access(Subject.SENDER), True),
    "check_recipient_access": Entry(_access(Subject.RECIPIENT), True),
    "reject_non_fqdn_sender": Entry(_non_fqdn_address(Subject.SENDER)),
    "reject_non_fqdn_recipient": Entry(_non_fqdn_address(Subject.RECIPIENT)),
    "reject_non_fqdn_helo_hostname": Entry(_non_fqdn_helo),
    "reject_non_fqdn_hostname": Entry(_non_fqdn_helo),
    "reject_invalid_helo_hostname": Entry(_invalid_helo),
    "reject_invalid_hostname": Entry(_invalid_helo),
    "reject_unknown_client_hostname": Entry(_unknown_client),
    "reject_unknown_client": Entry(_unknown_client),
    "reject_unknown_reverse_client_hostname": Entry(_unknown_reverse_client),
    "reject_unauth_pipelining": Entry(_unauth_pipelining),
    "reject_multi_recipient_bounce": Entry(_multi_recipient_bounce),
    "reject_plaintext_session": Entry(_plaintext_session),
    "permit_inet_interfaces": Entry(_permit_inet_interfaces),
    "check_etrn_access": Entry(_access(Subject.ETRN), True),
    "defer_if_permit": Entry(_defer_if_permit),
    "defer_if_reject": Entry(_defer_if_reject),
})  # fmt: skip

ACCESS: Mapping[Subject, str] = MappingProxyType({
    Subject.CLIENT: "check_client_access",
    Subject.HELO: "check_helo_access",
    Subject.SENDER: "check_sender_access",
    Subject.RECIPIENT: "check_recipient_access",
    Subject.ETRN: "check_etrn_access",
})  # fmt: skip
"""What a table without a restriction before it means, by the list that it stands in."""

_NOT_HERE = """
check_ccert_access check_client_a_access check_client_mx_access check_client_ns_access check_helo_a_access
check_helo_mx_access check_helo_ns_access check_policy_service check_recipient_a_access check_recipient_mx_access
check_recipient_ns_access check_relay_domains check_reverse_client_hostname_a_access
check_reverse_client_hostname_access check_reverse_client_hostname_mx_access check_reverse_client_hostname_ns_access
check_sasl_access check_sender_a_access check_sender_mx_access check_sender_ns_access permit_dnswl_client
permit_mx_backup permit_naked_ip_address permit_rhswl_client permit_tls_all_clientcerts permit_tls_clientcerts
reject_authenticated_sender_login_mismatch reject_known_sender_login_mismatch reject_maps_rbl reject_rbl_client
reject_rhsbl_client reject_rhsbl_helo reject_rhsbl_recipient reject_rhsbl_reverse_client reject_rhsbl_sender
reject_sender_login_mismatch reject_unauthenticated_sender_login_mismatch reject_unknown_address
reject_unknown_helo_hostname reject_unknown_hostname reject_unknown_recipient_domain reject_unknown_sender_domain
reject_unverified_recipient reject_unverified_sender sleep warn_if_reject
"""
NOT_HERE = frozenset(_NOT_HERE.split())
"""Postfix has them, we do not yet: named so that the error can tell them from a slip of the pen."""
