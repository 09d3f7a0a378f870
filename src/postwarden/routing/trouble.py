"""What DNS said when it did not help, as delivery status, word for word Postfix's."""

from collections.abc import Sequence

from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.mail.status import Status
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

_REASONS = {
    Outcome.NXDOMAIN: "Host not found",
    Outcome.NODATA: "Host found but no data record of requested type",
    Outcome.TEMPFAIL: "Host not found, try again",
    Outcome.FAILED: "Non-recoverable error",
}
_CODES = {
    Outcome.NXDOMAIN: "5.4.4",
    Outcome.NODATA: "5.4.4",
    Outcome.LOOP: "5.4.4",
    Outcome.FAILED: "5.4.3",
    Outcome.INVALID: "5.4.4",
    Outcome.TEMPFAIL: "4.4.3",
    Outcome.WITHHELD: "4.7.0",
    Outcome.UNFILTERED: "4.4.3",
}
_FILTERED = {
    Outcome.WITHHELD: "DNS reply filter drops all results",
    Outcome.UNFILTERED: "Invalid DNS reply filter syntax",
}
# When two address families fail differently: a definite "no" yields to what might be mended.
_RANK = {
    Outcome.NXDOMAIN: 0,
    Outcome.NODATA: 0,
    Outcome.LOOP: 0,
    Outcome.FAILED: 1,
    Outcome.INVALID: 2,
    Outcome.TEMPFAIL: 3,
    Outcome.WITHHELD: 3,
    Outcome.UNFILTERED: 3,
}


def lookup_trouble(answer: Answer) -> Status:
    """Why this answer is of no use."""
    kind = Kind(answer.kind).name
    if answer.outcome is Outcome.LOOP:
        text = f"Name server loop for {answer.name}"
    elif answer.outcome is Outcome.INVALID:
        text = f"Name service error for name={answer.name} type={kind}: Malformed or unexpected name server reply"
    elif answer.outcome in _FILTERED:
        text = f"Error looking up name={answer.name} type={kind}: {_FILTERED[answer.outcome]}"
    else:
        text = (
            f"Host or domain name not found. Name service error for name={answer.name} type={kind}: "
            f"{_REASONS[answer.outcome]}"
        )
    return Status(_CODES[answer.outcome], text)


def worst(answers: Sequence[Answer]) -> Answer:
    """Of several that did not help, the one to report: the latest among those that rank highest."""
    return max(reversed(answers), key=lambda answer: _RANK[answer.outcome])


def name_trouble(name: str) -> Status | None:
    """Why `name` is not asked for at all."""
    if valid_hostname(name, wildcard=True) and not valid_address(name):
        return None
    return Status("5.4.4", f"Name service error for {name}: invalid host or domain name")


def null_mx(domain: str) -> Status:
    """RFC 7505."""
    return Status("5.1.0", f"Domain {domain} does not accept mail (nullMX)")


def after(earlier: Status | None, later: Status) -> Status:
    """`later`, which stays temporary when `earlier` was: one host that may yet be found must not bounce mail because
    another does not exist."""
    if earlier is not None and earlier.code.startswith("4") and later.code.startswith("5"):
        return soft(later)
    return later


def soft(status: Status) -> Status:
    """The same, temporary."""
    return Status(f"4{status.code[1:]}", status.text, status.relay, status.remote_mta, status.remote_reply)


def configuration_trouble(status: Status) -> Status:
    """A relay host that the operator chose and that does not exist: the operator mends it, the mail waits."""
    return Status("4.3.5", status.text)
