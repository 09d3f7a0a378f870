"""reject_sender_login_mismatch and its relatives: may this login, or nobody's, use the sender address?"""

from postwarden.mail.decision import Decision, Fact, Rule
from postwarden.policy.means import Compiler, Means
from postwarden.policy.question import Question, Restriction, Subject, refused
from postwarden.tables.table import Found


def login_mismatch(*, known: bool = False, strangers: bool = True, logged_in: bool = True) -> Compiler:
    """`known`: only addresses that smtpd_sender_login_maps has are judged; `strangers`, `logged_in`: who is judged.
    Without smtpd_sasl_auth_enable nobody can log in, and, as in Postfix, nothing is judged; the log says so."""

    def compiler(means: Means, rule: Rule) -> Restriction:
        if not means.params.smtpd_sasl_auth_enable:
            both = rule.name == "reject_sender_login_mismatch"
            kinds = ("authenticated", "unauthenticated") if both else ("",)
            return _ignored(rule, [f"reject_{kind}_sender_login_mismatch" if kind else rule.name for kind in kinds])
        owners = _Owners(means, rule, known=known)

        def restriction(question: Question) -> Decision | None:
            sender, login = question.facts.sender, question.facts.client.login
            if not sender or not (logged_in if login else strangers):
                return None
            about = question.about(Subject.SENDER)
            return owners.logged_in(about, sender, login) if login else owners.stranger(about, sender)

        return restriction

    return compiler


def _ignored(rule: Rule, names: list[str]) -> Restriction:
    def restriction(question: Question) -> Decision | None:
        for name in names:
            question.marks.warn(rule, f"restriction `{name}' ignored: no SASL support")
        return None

    return restriction


class _Owners:
    def __init__(self, means: Means, rule: Rule, *, known: bool) -> None:
        self._means = means
        self._rule = rule
        self._known = known
        self._maps = means.parameter_maps("smtpd_sender_login_maps")

    def stranger(self, question: Question, sender: str) -> Decision | None:
        found = self._find(sender)
        if found is None:
            return None
        fact = Fact(found.table, found.key, found.value)
        return refused(question, self._rule, 553, "5.7.1", "not logged in", fact=fact)

    def logged_in(self, question: Question, sender: str, login: str) -> Decision | None:
        found = self._find(sender)
        if found is None:
            fact = Fact("smtpd_sender_login_maps", sender, "none")
            return None if self._known else self._foreign(question, login, fact)
        owners = found.value.replace(",", " ").split()
        if any(owner.lower() == login.lower() for owner in owners):
            return None
        return self._foreign(question, login, Fact(found.table, found.key, found.value))

    def _foreign(self, question: Question, login: str, fact: Fact) -> Decision:
        return refused(question, self._rule, 553, "5.7.1", f"not owned by user {login}", fact=fact)

    def _find(self, sender: str) -> Found | None:
        means = self._means
        address = means.resolver.resolve(sender).recipient
        return self._maps.find_address(address, means.params.recipient_delimiter, means.resolver.by_name_alone)
