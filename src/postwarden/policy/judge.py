"""May it come in? The judge of one smtpd service: a decision for each stage of a session.

With smtpd_delay_reject the lists for client, HELO and sender are judged at RCPT, so that a client hears why, and the
log says for whom. Relaying is judged before or after the recipient restrictions, as
smtpd_relay_before_recipient_restrictions says. Whatever can't be decided is put off with 451: a fault never opens the
door.
"""

from collections.abc import Callable

from msgspec import structs

from postwarden.config.absent import absent_filter
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.mail.decision import BUILT_IN, UNDECIDED, Decision, Effect, Fact, Rule, Verdict
from postwarden.mail.probe_sender import HEARD, ProbeSender
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.policy.actions import Style
from postwarden.policy.domains import families
from postwarden.policy.inquiries import Inquiries
from postwarden.policy.listed import Listed, Resolver
from postwarden.policy.lists import ListCompiler, Watch
from postwarden.policy.means import Means
from postwarden.policy.outside import NOBODY, Outside
from postwarden.policy.params import PolicyParams, PollParams
from postwarden.policy.question import Marks, Misconfigured, Question, Restriction, Subject, refusal, refuses
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

_DUNNO = Decision(Verdict.DUNNO, Rule(UNDECIDED, "", BUILT_IN))
_POSTMASTER = Decision(Verdict.PERMIT, Rule("postmaster is always heard", "", BUILT_IN))
_RELAY = "smtpd_relay_restrictions"
_RECIPIENT = "smtpd_recipient_restrictions"


class Judge:
    """Each method takes the session as it is and answers at once; a fact that is not at hand raises Pending."""

    def __init__(
        self,
        settings: Settings,
        service: str,
        tables: Tables,
        resolver: Resolver,
        outside: Outside = NOBODY,
        *,
        watch: Watch | None = None,
    ) -> None:
        """`watch` sees each restriction asked. Raises ConfigError for a list that can't be compiled, and for lists
        that would make an open relay."""
        params = self._params = view(PolicyParams, settings, service)

        def matches(name: str) -> MatchList:
            parents = name in params.parent_domain_matches_subdomains
            return MatchList(name, getattr(params, name), tables, settings.origin(name, service), parents=parents)

        self.networks = matches("mynetworks")
        self._backup_networks = matches("permit_mx_backup_networks")
        self._listed = Listed(params, tables, resolver, lambda name: settings.origin(name, service))
        compiler = ListCompiler(settings, service, tables, params.smtpd_restriction_classes, watch)
        compiler.means = Means(
            params,
            self.networks,
            resolver,
            self._listed,
            _style(params),
            frozenset(settings.own_addresses()),
            compiler.maps,
            compiler.named,
            lambda name: tables.maps(getattr(params, name), settings.origin(name, service)),
            Inquiries(outside.dns, outside.native, families(params)),
            outside.services,
            self._backup_networks,
            outside.pause,
            outside.verifier,
            (view(PollParams, settings, service).seconds, view(PollParams, settings, service, stress=True).seconds),
        )
        self.notes = compiler.notes
        """What does not do here what it does in Postfix."""
        _keep_closed(compiler, settings, service)
        self._client = compiler.parameter("smtpd_client_restrictions", Subject.CLIENT)
        self._helo = compiler.parameter("smtpd_helo_restrictions", Subject.HELO)
        self._sender = compiler.parameter("smtpd_sender_restrictions", Subject.SENDER)
        self._etrn = compiler.parameter("smtpd_etrn_restrictions", Subject.ETRN)
        self._data = compiler.parameter("smtpd_data_restrictions", Subject.DATA)
        self._end = compiler.parameter("smtpd_end_of_data_restrictions", Subject.END_OF_DATA)
        both = (compiler.parameter(_RELAY, Subject.RECIPIENT), compiler.parameter(_RECIPIENT, Subject.RECIPIENT))
        self._recipient = both if params.smtpd_relay_before_recipient_restrictions else (both[1], both[0])
        self._no_client = not params.smtpd_client_restrictions
        self._no_helo = not params.smtpd_helo_restrictions
        self._no_sender = not params.smtpd_sender_restrictions and not params.smtpd_reject_unlisted_sender
        self._unasked = _unasked(settings, service)
        self._prober = _prober(params, resolver)
        self._heard = Decision(Verdict.PERMIT, HEARD, (Fact("sender of probes", "", self._prober.address),))
        self._probing = self._prober.address.rpartition("@")[0].lower() or "\0"
        self._now = outside.now

    def refresh(self) -> None:
        """A file in a list of networks may have changed. Raises ConfigError, and then keeps what it had."""
        for networks in (self.networks, self._backup_networks):
            if networks.stale():
                networks.reload()

    def connect(self, facts: SessionFacts) -> Decision:
        if self._params.smtpd_delay_reject or self._no_client:
            return _DUNNO
        marks = Marks("CONNECT")
        decision = self._judge(lambda: self._judge_client(facts, marks), str(facts.client), marks)
        facts.findings.put_off[Subject.CLIENT.value] = marks.defer_if_permit
        return decision

    def helo(self, facts: SessionFacts) -> Decision:
        if self._params.smtpd_delay_reject or self._no_helo:
            return _DUNNO
        marks = Marks("EHLO" if facts.client.protocol == "ESMTP" else "HELO")
        decision = self._judge(lambda: self._judge_helo(facts, marks), facts.client.helo, marks)
        facts.findings.put_off[Subject.HELO.value] = marks.defer_if_permit
        return decision

    def mail(self, facts: SessionFacts, sender: str) -> Decision:
        if self._unasked is None:
            return self._mail(facts, sender)
        if self._unasked.reply is not None:
            return self._unasked
        decision = self._mail(facts, sender)
        return structs.replace(decision, effects=decision.effects + self._unasked.effects)

    def _mail(self, facts: SessionFacts, sender: str) -> Decision:
        if self._params.smtpd_delay_reject or self._no_sender:
            return _DUNNO
        facts = structs.replace(facts, sender=sender)
        marks = Marks("MAIL")
        decision = self._judge(lambda: self._judge_sender(facts, marks), sender, marks)
        facts.findings.put_off[Subject.SENDER.value] = marks.defer_if_permit
        return decision

    def recipient(self, facts: SessionFacts, recipient: str, stage: str = "RCPT") -> Decision:
        lowered = recipient.lower()
        if lowered == "postmaster":
            # RFC 5321 4.5.1
            return _POSTMASTER
        if lowered.startswith(self._probing) and self._prober.fits(recipient, self._now()):
            return self._heard
        marks = Marks(stage)
        return self._judge(lambda: self._judge_recipient(facts, recipient, marks), recipient, marks)

    def data(self, facts: SessionFacts) -> Decision:
        if not self._params.smtpd_data_restrictions:
            return _DUNNO
        marks = Marks("DATA")
        question = Question(facts, Subject.DATA, marks, facts.recipient)
        return self._judge(lambda: _alone(self._data, question), "DATA", marks)

    def end_of_data(self, facts: SessionFacts) -> Decision:
        if not self._params.smtpd_end_of_data_restrictions:
            return _DUNNO
        marks = Marks("END-OF-MESSAGE")
        question = Question(facts, Subject.END_OF_DATA, marks, facts.recipient)
        return self._judge(lambda: _alone(self._end, question), "END-OF-MESSAGE", marks)

    def etrn(self, facts: SessionFacts, site: str) -> Decision:
        marks = Marks("ETRN", site)
        return self._judge(lambda: self._judge_etrn(facts, site, marks), site, marks)

    def verify(self, facts: SessionFacts, address: str) -> Decision:
        """VRFY: as a recipient."""
        return self.recipient(facts, address, "VRFY")

    def _judge_client(self, facts: SessionFacts, marks: Marks, recipient: str | None = None) -> Decision | None:
        return None if self._no_client else _ask(self._client, Question(facts, Subject.CLIENT, marks, recipient))

    def _judge_helo(self, facts: SessionFacts, marks: Marks, recipient: str | None = None) -> Decision | None:
        if self._no_helo or not facts.client.helo:
            return None
        return _ask(self._helo, Question(facts, Subject.HELO, marks, recipient))

    def _judge_sender(self, facts: SessionFacts, marks: Marks, recipient: str | None = None) -> Decision | None:
        if self._no_sender or facts.sender is None:
            return None
        question = Question(facts, Subject.SENDER, marks, recipient)
        decision = _ask(self._sender, question)
        if refuses(decision) or not self._params.smtpd_reject_unlisted_sender or marks.discards:
            return decision
        return self._listed.check(question, facts.sender or "", question.recipient or "") or decision

    def _judge_early(self, facts: SessionFacts, marks: Marks, recipient: str) -> Decision | None:
        """The lists for client, HELO and sender, which at RCPT may ask for the recipient too. Where they have been
        obeyed already only what they put off counts."""
        if not self._params.smtpd_delay_reject:
            marks.defer_if_permit = _put_off(facts)
            return None
        for judge in (self._judge_client, self._judge_helo, self._judge_sender):
            decision = judge(facts, marks, recipient)
            if refuses(decision):
                return decision
            if marks.discards:
                break
        return None

    def _judge_recipient(self, facts: SessionFacts, recipient: str, marks: Marks) -> Decision | None:
        """Each list may refuse; a permit ends only its own list, so it takes all of them to come in."""
        if not (self._no_client and self._no_helo and self._no_sender):
            decision = self._judge_early(facts, marks, recipient)
            if decision is not None:
                return decision
        question = Question(facts, Subject.RECIPIENT, marks, recipient)
        last: Decision | None = None
        # A fault in one of them may have kept the other from its verdict, so they share what is put off.
        marks.begin()
        for restriction in self._recipient:
            decision = None if marks.discards else restriction(question)
            if refuses(decision):
                return marks.defer_if_reject or decision
            last = decision or last
        if marks.defer_if_permit is not None:
            return marks.defer_if_permit
        if self._params.smtpd_reject_unlisted_recipient and not marks.discards:
            decision = self._listed.check_recipient(question)
            if decision is not None:
                return decision
        return last

    def _judge_etrn(self, facts: SessionFacts, site: str, marks: Marks) -> Decision | None:
        if self._params.smtpd_delay_reject:
            for judge in (self._judge_client, self._judge_helo):
                decision = judge(facts, marks)
                if refuses(decision):
                    return decision
        else:
            marks.defer_if_permit = _put_off(facts)
        return _alone(self._etrn, Question(facts, Subject.ETRN, marks, None, site))

    def _judge(self, decide: Callable[[], Decision | None], name: str, marks: Marks) -> Decision:
        """`name` is what the peer is told of, should the decision fail."""
        try:
            decision = decide()
        except TableError as error:
            rule = Rule(error.table, "", BUILT_IN)
            marks.unanswered(rule, error.table, error.text, name)
            text = f"<{name}>: Temporary lookup failure"
            decision = refusal(rule, 451, "4.3.0", text, Fact(error.table, "", error.text))
        except ConfigError as error:
            rule = Rule("server configuration error", "", error.origin)
            marks.warn(rule, error.text)
            decision = Misconfigured(rule, Fact("error", "", error.text)).decision
        except Misconfigured as fault:
            decision = fault.decision
        if decision is None:
            decision = _DUNNO
        elif self._params.soft_bounce and decision.reply is not None and decision.reply.permanent:
            decision = _softened(decision, decision.reply)
        return structs.replace(decision, effects=tuple(marks.effects)) if marks.effects else decision


def _put_off(facts: SessionFacts) -> Decision | None:
    """The first of what earlier commands of this session put off."""
    put_off = facts.findings.put_off
    subjects = (Subject.CLIENT, Subject.HELO, Subject.SENDER)
    return next((later for subject in subjects if (later := put_off.get(subject.value)) is not None), None)


def _ask(restriction: Restriction, question: Question) -> Decision | None:
    """One list. What a fault may have kept us from permitting is not refused for good."""
    marks = question.marks
    marks.begin()
    decision = restriction(question)
    if marks.defer_if_reject is not None and refuses(decision):
        return marks.defer_if_reject
    return decision


def _alone(restriction: Restriction, question: Question) -> Decision | None:
    """A list that is the whole judgement of its stage."""
    decision = _ask(restriction, question)
    if refuses(decision):
        return decision
    return question.marks.defer_if_permit or decision


def _keep_closed(compiler: ListCompiler, settings: Settings, service: str) -> None:
    """Raises ConfigError."""
    if not compiler.closes(_RELAY, _RECIPIENT):
        raise ConfigError(
            settings.origin(_RELAY, service),
            f"in parameter {_RELAY} or {_RECIPIENT}, specify at least one working instance of: "
            "reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit",
        )


def _prober(params: PolicyParams, resolver: Resolver) -> ProbeSender:
    prober = params.address_verify_sender
    address = "" if prober in ("", "<>") else resolver.rewrite(prober)
    return ProbeSender(address, params.address_verify_sender_ttl)


def _style(params: PolicyParams) -> Style:
    return Style(
        params.access_map_reject_code,
        params.access_map_defer_code,
        params.recipient_delimiter,
        params.smtpd_null_access_lookup_key,
        "smtpd_access_maps" not in params.parent_domain_matches_subdomains,
        params.allow_untrusted_routing,
    )


def _unasked(settings: Settings, service: str) -> Decision | None:
    """What becomes of all mail because a filter that would have to be asked is none that we can ask."""
    absent = absent_filter(settings, service)
    if absent is None:
        return None
    rule = Rule(absent.parameter, "", absent.origin)
    if absent.reply is None:
        held = Effect("hold", "", "milter triggers HOLD action", rule)
        return Decision(Verdict.DUNNO, rule, effects=(held,))
    return Decision(Verdict.DEFER if absent.reply.temporary else Verdict.REJECT, rule, (), absent.reply)


def _softened(decision: Decision, reply: Reply) -> Decision:
    """soft_bounce: nothing is refused for good while a site tries its configuration out."""
    softer = Reply(reply.code - 100, f"4{reply.status[1:]}" if reply.status else "", reply.text)
    return structs.replace(decision, verdict=Verdict.DEFER, reply=softer)
