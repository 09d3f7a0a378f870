"""The vocabulary of restriction lists: a name, how many arguments it takes, and how it is compiled.

A restriction is compiled once, when the configuration is loaded, into a function of a Question; its Rule says where it
was written. A name that is not in the table is a configuration error, never a permit.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct

from postwarden.mail.address import domain_of
from postwarden.mail.decision import Decision, Fact, Origin, Rule
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.policy.access import AccessCheck, address_keys, client_keys, helo_keys
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
    maps: Callable[[str, Origin], Maps]
    """Opens the table that a restriction names. Raises ConfigError."""
    compile_list: Callable[[str, Origin], Restriction]
    """Compiles the restrictions that a table's answer names."""


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
    return lambda question: permit(rule) if question.facts.client.login else None


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
    def restriction(question: Question) -> Decision | None:
        if question.recipient is None:
            return None
        return means.listed.check(question.about(Subject.RECIPIENT), question.recipient)

    return restriction


def _unlisted_sender(means: Means, rule: Rule) -> Restriction:
    return lambda question: means.listed.check(question.about(Subject.SENDER), question.facts.sender or "")


def _access(subject: Subject) -> Compiler:
    def compiler(means: Means, rule: Rule) -> Restriction:
        delimiters = means.params.recipient_delimiter
        keys = {
            Subject.CLIENT: client_keys,
            Subject.HELO: helo_keys,
            Subject.SENDER: lambda question: address_keys(question.facts.sender or "", delimiters),
            Subject.RECIPIENT: lambda question: address_keys(question.recipient or "", delimiters),
        }[subject]
        return AccessCheck(
            rule,
            means.maps(rule.argument, rule.origin),
            subject,
            keys,
            codes=(means.params.access_map_reject_code, means.params.access_map_defer_code),
            compile_list=lambda text: means.compile_list(text, rule.origin),
        )

    return compiler


def _non_fqdn_address(subject: Subject) -> Compiler:
    def compiler(means: Means, rule: Rule) -> Restriction:
        def restriction(question: Question) -> Decision | None:
            about = question.about(subject)
            address = about.name
            domain = domain_of(address)
            if not address or domain.startswith("[") or "." in domain.strip("."):
                return None
            if subject is Subject.RECIPIENT and address.lower() == "postmaster":
                return None
            return refused(about, rule, means.params.non_fqdn_reject_code, "5.5.2", "need fully-qualified address")

        return restriction

    return compiler


def _non_fqdn_helo(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        about = question.about(Subject.HELO)
        name = about.name
        if not name or name.startswith("[") or "." in name.strip(".") or ":" in name:
            return None
        return refused(about, rule, means.params.non_fqdn_reject_code, "5.5.2", "need fully-qualified hostname")

    return restriction


def _invalid_helo(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        about = question.about(Subject.HELO)
        name = about.name
        if not name or valid_hostname(name) or valid_address(name.strip("[]").removeprefix("IPv6:")):
            return None
        return refused(about, rule, means.params.invalid_hostname_reject_code, "5.5.2", "Invalid name")

    return restriction


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
        return refusal(rule, code, "4.7.25", f"Client host rejected: {text}")

    return restriction


def _unauth_pipelining(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        if not question.facts.pipelined:
            return None
        return refusal(rule, 503, "5.5.0", "Data command rejected: Improper use of SMTP command pipelining")

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
    "defer_unauth_destination": Entry(_unauth_destination(lambda p: 454, "4.7.1")),
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
})  # fmt: skip
