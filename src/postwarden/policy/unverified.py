"""reject_unverified_sender, reject_unverified_recipient: would mail to the address be taken where it goes
(ADDRESS_VERIFICATION_README)? Somebody else finds that out and remembers it; here the client waits for a while."""

from msgspec import Struct

from postwarden.mail.decision import Decision, Fact, Pending, Rule
from postwarden.mail.verified import BOUNCE, FAIL, OK, SUBJECT, Verified
from postwarden.net.waiting import called_back
from postwarden.policy.domains import tempfail_action
from postwarden.policy.means import Compiler, Means
from postwarden.policy.question import Question, Restriction, Subject, refused

_LONGEST = 250
"""Octets of what a probe met, in a reply that may be followed by a better one."""
_LINE = 510
"""Octets of a reply without its end (RFC 5321 4.5.3.1.5)."""
_DETAILS = {Subject.SENDER: ".1.7", Subject.RECIPIENT: ".1.1"}


class _Words(Struct, frozen=True):
    """What main.cf says of one of the two."""

    reject_code: int
    defer_code: int
    reason: str
    """Instead of what the probe met; empty: tell it."""
    action: str


def _words(means: Means, subject: Subject) -> _Words:
    params = means.params
    if subject is Subject.SENDER:
        return _Words(
            params.unverified_sender_reject_code,
            params.unverified_sender_defer_code,
            params.unverified_sender_reject_reason,
            params.unverified_sender_tempfail_action,
        )
    return _Words(
        params.unverified_recipient_reject_code,
        params.unverified_recipient_defer_code,
        params.unverified_recipient_reject_reason,
        params.unverified_recipient_tempfail_action,
    )


def unverified(subject: Subject) -> Compiler:
    """`subject` is SENDER or RECIPIENT."""

    def compiler(means: Means, rule: Rule) -> Restriction:
        words, status = _words(means, subject), f"4{_DETAILS[subject]}"
        name = f"unverified_{subject.name.lower()}"
        put_off = tempfail_action(rule, f"{name}_tempfail_action", words.action)

        def restriction(question: Question) -> Decision | None:
            address = question.recipient if subject is Subject.RECIPIENT else question.facts.sender
            if not address:
                return None
            verified = _known(means, question, address)
            if verified.status == OK:
                return None
            about = question.about(subject)
            fact = Fact(SUBJECT, address, f"{verified.status} {verified.text}".rstrip())
            if verified.status == FAIL:
                question.marks.warn(rule, "verify service failure")
                return put_off(about, refused(about, rule, 450, status, "address verification problem", fact=fact))
            code = words.reject_code if verified.status == BOUNCE else words.defer_code
            if code < 300:
                return None
            why = words.reason or verified.text
            if 400 <= code < 500:
                text = f"unverified address: {_cut(why, _LONGEST)}"
                return put_off(about, refused(about, rule, code, status, text, fact=fact))
            bare = refused(about, rule, code, status, "undeliverable address: ")
            room = _LINE - len(str(bare.reply).encode("utf-8", "surrogateescape"))
            return refused(about, rule, code, status, f"undeliverable address: {_cut(why, room)}", fact=fact)

        return restriction

    return compiler


def _known(means: Means, question: Question, address: str) -> Verified:
    """Asked once a command, whoever wants to know. Raises Pending."""
    known, address = question.facts.findings.known, means.resolver.rewrite(address)
    key = ("address", address)
    if key not in known:
        seconds = means.patience[question.facts.stress]

        async def fetch() -> None:
            known[key] = await called_back(lambda done: means.verifier.ask(address, seconds, done))

        raise Pending(fetch)
    verified: Verified = known[key]
    return verified


def _cut(text: str, octets: int) -> str:
    return text.encode("utf-8", "replace")[: max(octets, 0)].decode("utf-8", "ignore")
