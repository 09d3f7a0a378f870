"""The processes that deliver, and which of them gets the next job."""

from collections.abc import Sequence

from postwarden.ipc.records import Job
from postwarden.schedule.message import Delivery
from postwarden.schedule.ports import Worker

_ANY = 1 << 30

ASSURED = 5
"""Deliveries that a transport may have in hand whatever others have: those of two that hang must not be all."""


class Crew:
    """One worker and what it has in hand."""

    __slots__ = ("generation", "jobs", "worker")

    def __init__(self, worker: Worker, generation: int) -> None:
        self.worker = worker
        self.generation = generation
        self.jobs: dict[int, Delivery] = {}

    def send(self, job: Job, delivery: Delivery, fds: Sequence[int]) -> None:
        self.jobs[job.job_id] = delivery
        self.worker.send(job, fds)


class Pool:
    """The workers of one kind. Only those of the newest generation get new jobs: after a reload the old ones end with
    what they have."""

    __slots__ = ("_crews", "_newest", "limit", "name")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        """Jobs that one worker may have in hand."""
        self._crews: list[Crew] = []
        self._newest = 0

    def join(self, crew: Crew) -> None:
        self._crews.append(crew)
        self._newest = max(self._newest, crew.generation)

    def leave(self, crew: Crew) -> None:
        if crew in self._crews:
            self._crews.remove(crew)
        self._newest = max((c.generation for c in self._crews), default=0)

    def pick(self) -> Crew | None:
        """The worker with the fewest jobs in hand; None when nobody has room."""
        return self._fewest(self.limit)

    def spare(self) -> Crew | None:
        """The same, where room does not matter."""
        return self._fewest(_ANY)

    def _fewest(self, fewest: int) -> Crew | None:
        best: Crew | None = None
        for crew in self._crews:
            if len(crew.jobs) < fewest and crew.generation == self._newest and not crew.worker.congested():
                best, fewest = crew, len(crew.jobs)
        return best

    def __len__(self) -> int:
        return len(self._crews)

    @property
    def busy(self) -> int:
        return sum(len(crew.jobs) for crew in self._crews)
