"""Jobs of transports that expand nothing: each recipient has one place, and one status."""

from collections.abc import Callable

from postwarden.deliver.local.delivery import Delivery
from postwarden.deliver.local.letter import Letter
from postwarden.deliver.local.ports import Surroundings
from postwarden.ipc.records import Job, Outcome
from postwarden.mail.envelope import Recipient
from postwarden.mail.status import Status, Timing


class _Itself:
    def __init__(self, address: str, sender: str) -> None:
        self.address = address
        self.sender = sender
        self.released = False


def outcome(
    letter: Letter,
    around: Surroundings,
    handed: float,
    job: Job,
    status: Callable[[int, Recipient], Status],
    *,
    soft_bounce: bool,
) -> Outcome:
    """`status`: delivers to one recipient. `handed`: when the job came."""
    results: list[Status] = []
    for index, recipient in enumerate(job.recipients):
        delivery = Delivery(
            job,
            index,
            letter,
            around.now,
            handed,
            soft_bounce=soft_bounce,
            status_filter=around.status_filter,
        )
        delivery.note(_Itself(recipient.address, job.sender), status(index, recipient))
        result, _, events = delivery.finish()
        for event in events:
            around.emit(event)
        results.append(result)
    return Outcome(job.job_id, tuple(results), Timing(handed, handed, around.now()))
