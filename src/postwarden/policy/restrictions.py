"""Restrictions that need nothing but the session, main.cf and tables."""

import re
from collections.abc import Callable

from postwarden.addressing.rewrite import without_dot
from postwarden.config.errors import ConfigError
from postwarden.config.values import split
from postwarden.mail.address import domain_of
from postwarden.mail.decision import Decision, Fact, Pending, Rule
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.policy.access import (
    AccessCheck,
    Keys,
    client_keys,
    domain_and_parents,
    helo_keys,
    never_permits,
    recipient_keys,
    reverse_client_keys,
    sender_keys,
)
from postwarden.policy.means import Compiler, Means
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Misconfigured, Question, Restriction, Subject, permit, refusal, refused

_LONGEST_SLEEP = 3600
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")


def permit_all(means: Means, rule: Rule) -> Restriction:
    decision = permit(rule)
    return lambda question: decision


def reject_all(means: Means, rule: Rule) -> Restriction:
    return lambda question: refused(question, rule, means.params.reject_code, "5.7.1", "Access denied")


def defer_all(means: Means, rule: Rule) -> Restriction:
    return lambda question: refused(question, rule, means.params.defer_code, "4.3.2", "Try again later")


def permit_mynetworks(means: Means, rule: Rule) -> Restriction:
    decision = permit(rule)

    def restriction(question: Question) -> Decision | None:
        client = question.facts.client
        return decision if means.networks.match_client(client.name, client.address) else None

    return restriction


def permit_sasl_authenticated(means: Means, rule: Rule) -> Restriction:
    decision = permit(rule)
    # A name that XCLIENT gives is not a login where logins are off.
    enabled = means.params.smtpd_sasl_auth_enable
    return lambda question: decision if enabled and question.facts.client.login else None


def permit_auth_destination(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        return permit(rule) if means.own_recipient(question) else None

    return restriction


def unauth_destination(code: Callable[[PolicyParams], int], status: str) -> Compiler:
    def compiler(means: Means, rule: Rule) -> Restriction:
        def restriction(question: Question) -> Decision | None:
            recipient = question.recipient
            if recipient is None or means.own_recipient(question):
                return None
            fact = Fact("recipient", recipient, "not a destination of ours")
            return refusal(rule, code(means.params), status, f"<{recipient}>: Relay access denied", fact)

        return restriction

    return compiler


def unlisted_recipient(means: Means, rule: Rule) -> Restriction:
    return means.listed.check_recipient


def unlisted_sender(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        sender, recipient = question.facts.sender or "", question.recipient or ""
        return means.listed.check(question.about(Subject.SENDER), sender, recipient)

    return restriction


def access(subject: Subject) -> Compiler:
    def compiler(means: Means, rule: Rule) -> Restriction:
        style, resolver = means.style, means.resolver
        keys: dict[Subject, Keys] = {
            Subject.CLIENT: client_keys(style),
            Subject.REVERSE_CLIENT: reverse_client_keys(style),
            Subject.HELO: helo_keys(style),
            Subject.SENDER: sender_keys(style, resolver),
            Subject.RECIPIENT: recipient_keys(style, resolver),
            Subject.ETRN: lambda question: (domain_and_parents(question.site, style),),
            Subject.LOGIN: lambda question: ((question.name,),),
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


def non_fqdn_address(subject: Subject) -> Compiler:
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


def bad_literal(means: Means, rule: Rule, question: Question) -> Decision | None:
    helo = question.name
    inner = helo[1:-1] if helo.endswith("]") and len(helo) > 2 else helo
    if inner[:5].lower() == "ipv6:":
        good = ":" in inner[5:] and valid_address(inner[5:])
    else:
        good = ":" not in inner and valid_address(inner)
    if good:
        return None
    return refused(question, rule, means.params.invalid_hostname_reject_code, "5.5.2", "invalid ip address")


def non_fqdn_helo(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        about = question.about(Subject.HELO)
        name = about.name
        if not name or _qualified(name):
            return None
        if name[0] == "[":
            return bad_literal(means, rule, about)
        return refused(about, rule, means.params.non_fqdn_reject_code, "5.5.2", "need fully-qualified hostname")

    return restriction


def invalid_helo(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        about = question.about(Subject.HELO)
        name = about.name
        if not name or valid_hostname(without_dot(name)):
            return None
        if name[0] == "[":
            return bad_literal(means, rule, about)
        if valid_address(without_dot(name)):
            return None
        return refused(about, rule, means.params.invalid_hostname_reject_code, "5.5.2", "Invalid name")

    return restriction


def multi_recipient_bounce(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        facts = question.facts
        before = 1 if question.subject in (Subject.DATA, Subject.END_OF_DATA) else 0
        if facts.sender != "" or facts.recipients <= before:
            return None
        code = means.params.multi_recipient_bounce_reject_code
        return refused(question, rule, code, "5.5.3", "Multi-recipient bounce")

    return restriction


def plaintext_session(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        if question.facts.tls is not None:
            return None
        code = means.params.plaintext_reject_code
        return refusal(rule, code, "4.7.1", "Session encryption is required")

    return restriction


def defer_if_permit(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        question.marks.put_off_permit(refused(question, rule, 450, "4.7.0", "defer_if_permit requested"))
        return None

    return restriction


def defer_if_reject(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        question.marks.put_off_reject(refused(question, rule, 450, "4.7.0", "defer_if_reject requested"))
        return None

    return restriction


def permit_inet_interfaces(means: Means, rule: Rule) -> Restriction:
    decision = permit(rule)
    return lambda question: decision if question.facts.client.address in means.own else None


def unknown_client(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        facts = question.facts
        if facts.client.name != "unknown":
            return None
        code = 450 if facts.name_status == 4 else means.params.unknown_client_reject_code
        text = f"cannot find your hostname, [{facts.client.address}]"
        return refusal(rule, code, "4.7.25", f"Client host rejected: {text}")

    return restriction


def unknown_reverse_client(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        facts = question.facts
        if facts.client.reverse_name != "unknown":
            return None
        code = 450 if facts.reverse_name_status == 4 else means.params.unknown_client_reject_code
        text = f"cannot find your reverse hostname, [{facts.client.address}]"
        return refusal(rule, code, "4.7.1", f"Client host rejected: {text}")

    return restriction


def unauth_pipelining(means: Means, rule: Rule) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        if not question.facts.pipelined:
            return None
        return refused(question, rule, 503, "5.5.0", "Improper use of SMTP command pipelining")

    return restriction


def reverse_client_access(means: Means, rule: Rule) -> Restriction:
    check = access(Subject.REVERSE_CLIENT)(means, rule)
    return never_permits(rule, lambda question: question.facts.client.reverse_name, check)


def login_access(means: Means, rule: Rule) -> Restriction:
    """check_sasl_access: who has no login is in no table."""
    check = access(Subject.LOGIN)(means, rule)
    enabled = means.params.smtpd_sasl_auth_enable
    return lambda question: check(question) if enabled and question.facts.client.login else None


def no_certificate(means: Means, rule: Rule) -> Restriction:
    """No client is asked for a certificate, so none has one."""
    return lambda question: None


def certificate_access(means: Means, rule: Rule) -> Restriction:
    """The table is opened all the same, so that a mistake in it is seen. Raises ConfigError."""
    argument = rule.argument
    means.maps(split(argument[1:-1])[0] if argument.startswith("{") else argument, rule.origin)
    return no_certificate(means, rule)


def sleep(means: Means, rule: Rule) -> Restriction:
    if not rule.argument.isdecimal():
        raise ConfigError(rule.origin, "restriction sleep must be followed by number")
    seconds = min(int(rule.argument), _LONGEST_SLEEP)
    if not seconds:
        return lambda question: None

    def restriction(question: Question) -> Decision | None:
        marks, known = question.marks, question.facts.findings.known
        marks.asked += 1
        key = ("sleep", marks.stage, marks.asked)
        if key not in known:

            async def fetch() -> None:
                await means.pause(seconds)
                known[key] = True

            raise Pending(fetch)
        return None

    return restriction


def unavailable(means: Means, rule: Rule) -> Restriction:
    """Nobody comes in, and nobody is sent away for good, by a restriction that we do not have."""

    def restriction(question: Question) -> Decision | None:
        question.marks.warn(rule, f'restriction "{rule.name}" is not available in this version')
        raise Misconfigured(rule)

    return restriction
