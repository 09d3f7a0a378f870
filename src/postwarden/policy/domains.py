"""Is there such a domain, such a host: reject_unknown_sender_domain and its sisters, permit_mx_backup."""

from collections.abc import Callable

from postwarden.addressing.rewrite import without_dot
from postwarden.config.errors import ConfigError
from postwarden.mail.address import domain_of
from postwarden.mail.decision import Decision, Fact, Rule
from postwarden.mail.hostname import valid_address
from postwarden.policy.inquiries import dns_error, is_null_mx
from postwarden.policy.means import Compiler, Means
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Question, Restriction, Subject, permit, refused
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

_DETAILS = {Subject.SENDER: ".1.8", Subject.RECIPIENT: ".1.2"}
_MAX_HOSTS = 100
"""Of a domain that whoever sends may choose: each would cost two look-ups, of names that may be anybody's."""
_NULL_MX = {Subject.SENDER: (550, "5.7.27"), Subject.RECIPIENT: (556, "5.1.10")}


def unknown_domain(subject: Subject) -> Compiler:
    """No MX and no address record, or a malformed MX; what we deliver ourselves is not asked for."""

    def compiler(means: Means, rule: Rule) -> Restriction:
        params, inquiries = means.params, means.inquiries
        put_off = tempfail_action(rule, "unknown_address_tempfail_action", params.unknown_address_tempfail_action)

        def restriction(question: Question) -> Decision | None:
            address = question.recipient if subject is Subject.RECIPIENT else question.facts.sender
            if not address:
                return None
            resolved = means.resolver.resolve(address)
            domain = domain_of(resolved.recipient)
            if resolved.address_class.final or not domain or domain[0] == "[":
                return None
            about = question.about(subject)
            answer = inquiries.first(question, domain, (Kind.MX, *inquiries.families))
            fact = Fact("DNS", domain, answer.outcome.value)
            if answer.outcome is Outcome.FOUND:
                return _null_mx(about, rule, domain, fact) if is_null_mx(answer) else None
            if answer.outcome is Outcome.WITHHELD:
                _withheld(about, rule, f"{domain}: MX or address")
                return None
            status = f"4{_DETAILS[subject]}"
            if answer.outcome is Outcome.TEMPFAIL:
                return put_off(about, refused(about, rule, 450, status, "Domain not found", fact=fact))
            why = "Malformed DNS server reply" if answer.outcome is Outcome.INVALID else "Domain not found"
            return refused(about, rule, params.unknown_address_reject_code, status, why, fact=fact)

        return restriction

    return compiler


def _null_mx(question: Question, rule: Rule, domain: str, fact: Fact) -> Decision:
    code, status = _NULL_MX[question.subject]
    return refused(question, rule, code, status, f"Domain {domain} does not accept mail (nullMX)", fact=fact)


def _withheld(question: Question, rule: Rule, what: str) -> None:
    """There are records, and smtpd_dns_reply_filter drops them: nothing speaks against the domain."""
    question.marks.warn(rule, f"{what} lookup error: DNS reply filter drops all results")


def unknown_helo(bad_literal: Callable[[Means, Rule, Question], Decision | None]) -> Compiler:
    """No MX and no address record. `bad_literal` judges a name in brackets."""

    def compiler(means: Means, rule: Rule) -> Restriction:
        params, inquiries = means.params, means.inquiries
        name = "unknown_helo_hostname_tempfail_action"
        put_off = tempfail_action(rule, name, params.unknown_helo_hostname_tempfail_action)

        def restriction(question: Question) -> Decision | None:
            about = question.about(Subject.HELO)
            helo = about.name
            if not helo:
                return None
            if helo[0] == "[":
                return bad_literal(means, rule, about)
            answer = inquiries.first(question, without_dot(helo), (*inquiries.families, Kind.MX))
            if answer.outcome is Outcome.FOUND:
                return None
            if answer.outcome is Outcome.WITHHELD:
                _withheld(about, rule, f"{helo}: address or MX")
                return None
            fact = Fact("DNS", helo, answer.outcome.value)
            if answer.outcome is Outcome.TEMPFAIL:
                return put_off(about, refused(about, rule, 450, "4.7.1", "Host not found", fact=fact))
            why = "Malformed DNS server reply" if answer.outcome is Outcome.INVALID else "Host not found"
            return refused(about, rule, params.unknown_hostname_reject_code, "4.7.1", why, fact=fact)

        return restriction

    return compiler


def tempfail_action(rule: Rule, parameter: str, value: str) -> Callable[[Question, Decision], Decision | None]:
    """What a failure of DNS does: `defer` answers at once, `defer_if_permit` lets the rest of the list refuse for good.
    Raises ConfigError."""
    word = value.lower()
    if word == "defer":
        return lambda question, later: later
    if word != "defer_if_permit":
        raise ConfigError(rule.origin, f"bad configuration: {parameter} = {value}")

    def put_off(question: Question, later: Decision) -> None:
        question.marks.put_off_permit(later)

    return put_off


def permit_mx_backup(means: Means, rule: Rule) -> Restriction:
    """We are a backup MX of the recipient's domain, or responsible for it. Whoever owns a domain may name us as its MX:
    permit_mx_backup_networks says whose primary servers we do it for."""
    backup = _Backup(means, rule)
    return lambda question: None if question.recipient is None else backup.judge(question, question.recipient)


class _Backup:
    def __init__(self, means: Means, rule: Rule) -> None:
        self._means = means
        self._rule = rule
        self._own = means.own | frozenset(means.params.proxy_interfaces)

    def judge(self, question: Question, recipient: str) -> Decision | None:
        means = self._means
        if means.own_recipient(question):
            return permit(self._rule)
        resolved = means.resolver.resolve(recipient)
        domain = domain_of(resolved.recipient)
        if resolved.routed or not domain or domain[0] == "[" or valid_address(domain):
            return None
        answer = means.inquiries.ask(question, domain, Kind.MX)
        if answer.outcome is not Outcome.FOUND:
            if not answer.missing:
                text = f"Unable to look up mail exchanger information: {dns_error(answer)}"
                self._put_off(question, text)
            return None
        if is_null_mx(answer) or len(answer.records) > _MAX_HOSTS:
            return None
        if means.params.permit_mx_backup_networks and not self._allowed(question, answer):
            return None
        if not self._listed(question, answer):
            return None
        return permit(self._rule, Fact("MX", domain, " ".join(str(record.data) for record in answer.records)))

    def _listed(self, question: Question, answer: Answer) -> bool:
        """We are an MX of it, and not one of the best."""
        best = min(record.preference for record in answer.records)
        hosts = [str(record.data) for record in answer.records]
        found = self._means.inquiries.addresses(question, hosts)
        ours = []
        for record, host, addresses in zip(answer.records, hosts, found, strict=True):
            if addresses.temporary:
                text = f"Unable to look up host {host} as mail exchanger: {addresses.trouble}"
                self._put_off(question, text)
            if not self._own.isdisjoint(addresses.texts):
                ours.append(record.preference)
        return bool(ours) and best not in ours

    def _allowed(self, question: Question, answer: Answer) -> bool:
        """Every address of every primary server is in permit_mx_backup_networks."""
        best = min(record.preference for record in answer.records)
        hosts = [str(record.data) for record in answer.records if record.preference == best]
        for host, addresses in zip(hosts, self._means.inquiries.addresses(question, hosts), strict=True):
            if not addresses.texts:
                text = f"Unable to look up mail exchanger host {host}: {addresses.trouble}"
                self._put_off(question, text)
                return False
            networks = self._means.backup_networks
            if any(networks.match_client(host, address) is None for address in addresses.texts):
                return False
        return True

    def _put_off(self, question: Question, text: str) -> None:
        about = question.about(Subject.RECIPIENT)
        question.marks.put_off_reject(refused(about, self._rule, 450, "4.4.4", text))


def families(params: PolicyParams) -> tuple[Kind, ...]:
    """The kinds of address that inet_protocols has."""
    words = {word.lower() for word in params.inet_protocols}
    both = "all" in words or not words & {"ipv4", "ipv6"}
    return tuple(kind for word, kind in (("ipv4", Kind.A), ("ipv6", Kind.AAAA)) if both or word in words)
