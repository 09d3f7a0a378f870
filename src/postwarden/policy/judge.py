"""May it come in? The judge of one smtpd service: a decision for each stage of a session.

With smtpd_delay_reject the lists for client, HELO and sender are judged at RCPT, so that a client hears why, and the
log says for whom. Relaying is judged before or after the recipient restrictions, as
smtpd_relay_before_recipient_restrictions says. Whatever can't be decided is put off with 451: a fault never opens the
door.
"""

from collections.abc import Callable

from msgspec import structs

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.mail.decision import BUILT_IN, Decision, Fact, Rule, Verdict
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.policy.listed import Listed, Resolver
from postwarden.policy.lists import ListCompiler
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Question, Restriction, Subject, refusal
from postwarden.policy.restrictions import Means
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

_DUNNO = Decision(Verdict.DUNNO, Rule("no restriction decided", "", BUILT_IN))
_RELAY = "smtpd_relay_restrictions"
_RECIPIENT = "smtpd_recipient_restrictions"


class Judge:
    """Each method takes the session as it is and answers at once; a fact that is not at hand raises Pending."""

    def __init__(self, settings: Settings, service: str, tables: Tables, resolver: Resolver) -> None:
        """Raises ConfigError for a list that can't be compiled, and for lists that would make an open relay."""
        params = self._params = view(PolicyParams, settings, service)
        self.networks = MatchList(
            "mynetworks",
            params.mynetworks,
            tables,
            settings.origin("mynetworks", service),
            parents="mynetworks" in params.parent_domain_matches_subdomains,
        )
        self._listed = Listed(params, tables, resolver)
        compiler = ListCompiler(settings, service, tables, params.smtpd_restriction_classes)
        compiler.means = Means(params, self.networks, resolver, self._listed, compiler.maps, compiler.named)
        if not compiler.closes(_RELAY, _RECIPIENT):
            raise ConfigError(
                settings.origin(_RELAY, service),
                f"in parameter {_RELAY} or {_RECIPIENT}, specify at least one working instance of: "
                "reject_unauth_destination, defer_unauth_destination, reject, defer",
            )
        self._client = compiler.parameter("smtpd_client_restrictions")
        self._helo = compiler.parameter("smtpd_helo_restrictions")
        self._sender = compiler.parameter("smtpd_sender_restrictions")
        self._etrn = compiler.parameter("smtpd_etrn_restrictions")
        self._data = compiler.parameter("smtpd_data_restrictions")
        self._end = compiler.parameter("smtpd_end_of_data_restrictions")
        both = (compiler.parameter(_RELAY), compiler.parameter(_RECIPIENT))
        self._recipient = both if params.smtpd_relay_before_recipient_restrictions else (both[1], both[0])
        self._none_early = not any((params.smtpd_client_restrictions, params.smtpd_helo_restrictions))
        self._no_sender = not params.smtpd_sender_restrictions and not params.smtpd_reject_unlisted_sender

    def refresh(self) -> None:
        """A file in mynetworks may have changed. Raises ConfigError, and then keeps what it had."""
        if self.networks.stale():
            self.networks.reload()

    def connect(self, facts: SessionFacts) -> Decision:
        if self._params.smtpd_delay_reject:
            return _DUNNO
        return self._judge(lambda: self._client(Question(facts, Subject.CLIENT)))

    def helo(self, facts: SessionFacts) -> Decision:
        if self._params.smtpd_delay_reject:
            return _DUNNO
        return self._judge(lambda: self._helo(Question(facts, Subject.HELO)))

    def mail(self, facts: SessionFacts, sender: str) -> Decision:
        if self._params.smtpd_delay_reject:
            return _DUNNO
        return self._judge(lambda: self._judge_sender(structs.replace(facts, sender=sender)))

    def recipient(self, facts: SessionFacts, recipient: str) -> Decision:
        return self._judge(lambda: self._judge_recipient(facts, recipient))

    def data(self, facts: SessionFacts) -> Decision:
        return self._judge(lambda: self._data(Question(facts, Subject.DATA)))

    def end_of_data(self, facts: SessionFacts) -> Decision:
        return self._judge(lambda: self._end(Question(facts, Subject.END_OF_DATA)))

    def etrn(self, facts: SessionFacts, site: str) -> Decision:
        return self._judge(lambda: self._etrn(Question(facts, Subject.ETRN)))

    def verify(self, facts: SessionFacts, address: str) -> Decision:
        """VRFY: as a recipient, without the unlisted sender."""
        return self._judge(lambda: self._judge_recipient(facts, address))

    def _judge_sender(self, facts: SessionFacts) -> Decision | None:
        question = Question(facts, Subject.SENDER)
        decision = self._sender(question)
        if _refuses(decision) or not self._params.smtpd_reject_unlisted_sender:
            return decision
        return self._listed.check(question, facts.sender or "") or decision

    def _judge_recipient(self, facts: SessionFacts, recipient: str) -> Decision | None:
        """Each list may refuse; a permit ends only its own list, so it takes all of them to come in."""
        discard: Decision | None = None
        if self._params.smtpd_delay_reject:
            for restriction, subject in self._early(facts):
                decision = restriction(Question(facts, subject, recipient))
                if _refuses(decision):
                    return decision
                discard = _marked(decision) or discard
        question = Question(facts, Subject.RECIPIENT, recipient)
        last: Decision | None = None
        for restriction in self._recipient:
            decision = restriction(question)
            if _refuses(decision):
                return decision
            discard = _marked(decision) or discard
            last = decision or last
        if self._params.smtpd_reject_unlisted_recipient and (discard is None or discard.verdict is Verdict.HOLD):
            decision = self._listed.check(question, recipient)
            if decision is not None:
                return decision
        return discard or last

    def _early(self, facts: SessionFacts) -> list[tuple[Restriction, Subject]]:
        lists: list[tuple[Restriction, Subject]] = []
        if not self._none_early:
            lists.append((self._client, Subject.CLIENT))
            if facts.client.helo:
                lists.append((self._helo, Subject.HELO))
        if not self._no_sender:
            lists.append((lambda question: self._judge_sender(question.facts), Subject.SENDER))
        return lists

    def _judge(self, decide: Callable[[], Decision | None]) -> Decision:
        try:
            decision = decide()
        except TableError as error:
            rule = Rule(error.table, "", BUILT_IN)
            return refusal(rule, 451, "4.3.0", "Temporary lookup failure", Fact(error.table, "", error.text))
        except ConfigError as error:
            rule = Rule("server configuration error", "", error.origin)
            return refusal(rule, 451, "4.3.5", "Server configuration error", Fact("error", "", error.text))
        if decision is None:
            return _DUNNO
        if self._params.soft_bounce and decision.reply is not None and decision.reply.permanent:
            return _softened(decision, decision.reply)
        return decision


def _refuses(decision: Decision | None) -> bool:
    return decision is not None and decision.verdict in (Verdict.REJECT, Verdict.DEFER)


def _marked(decision: Decision | None) -> Decision | None:
    return decision if decision is not None and decision.verdict in (Verdict.DISCARD, Verdict.HOLD) else None


def _softened(decision: Decision, reply: Reply) -> Decision:
    """soft_bounce: nothing is refused for good while a site tries its configuration out."""
    softer = Reply(reply.code - 100, f"4{reply.status[1:]}" if reply.status else "", reply.text)
    return structs.replace(decision, verdict=Verdict.DEFER, reply=softer)
