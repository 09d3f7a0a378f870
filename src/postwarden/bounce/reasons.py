"""One plain sentence about who decided, for people who read a report and have to do something about it."""

from postwarden.bounce.params import BounceParams
from postwarden.mail.round import Kind
from postwarden.mail.status import Status

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def reason(kind: Kind, status: Status, params: BounceParams, *, age: float, null: bool, postmaster: bool) -> str:
    """Empty where the report has said it all. `age` of the message in seconds; `null`: it has no sender; `postmaster`:
    who reads this may know where our settings are written."""
    if kind is Kind.DELAY:
        return (
            f"Why this report: it has waited for more than {span(params.delay_warning_time)} (delay_warning_time);"
            f" it is tried until it is {span(params.maximal_queue_lifetime)} old (maximal_queue_lifetime)."
        )
    if kind is Kind.EXPIRY:
        name = "bounce_queue_lifetime" if null else "maximal_queue_lifetime"
        lifetime = params.bounce_queue_lifetime if null else params.maximal_queue_lifetime
        if age < lifetime:
            return f"Why: the postmaster of {params.myhostname} had it returned before its time."
        return f"Why: it was given up after {span(lifetime)} ({name})."
    if kind is not Kind.FAILURE:
        return ""
    if status.cause:
        origin = f" ({status.origin})" if postmaster and status.origin else ""
        return f"Why: {params.myhostname} decided this by {status.cause}{origin}."
    if status.program_said:
        return f"Why: {params.myhostname} gave it to a program, and the program ended like this."
    if status.remote_reply:
        return f"Why: the mail server {status.remote_mta or status.relay} decided this; the reply above is its own."
    if status.code in ("5.1.2", "5.4.4", "5.1.0"):
        return "Why: the DNS of the recipient's domain says so."
    return ""


def span(seconds: int) -> str:
    """`5 days`, `90 minutes`: in the largest unit that divides it."""
    size, name = next((unit for unit in _UNITS if seconds and seconds % unit[0] == 0), (1, "second"))
    amount = seconds // size
    return f"{amount} {name}{'' if amount == 1 else 's'}"
