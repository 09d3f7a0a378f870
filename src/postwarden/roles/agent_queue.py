"""The order in which the agent's workers get jobs."""

import os
from collections import Counter, deque

from msgspec import Struct

from postwarden.ipc.channel import BlockingChannel
from postwarden.ipc.records import Job
from postwarden.schedule.workers import ASSURED


class Work(Struct, eq=False):
    """A job that waits or is in hand. It owns its descriptors until a worker has them."""

    job: Job
    fds: list[int]
    client: BlockingChannel[Job]
    free: bool = False
    """It writes to no mailbox, and need not wait for others."""

    @property
    def place(self) -> str:
        """What two workers should not write to at once."""
        if self.free:
            return f"\0{self.job.job_id}"
        return self.job.recipients[0].address.lower() if self.job.recipients else ""

    def release(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class JobQueue:
    """First in, first out; but of the jobs for one recipient only one is in hand, and the others don't hold up those
    for other recipients. A transport with few jobs in hand comes first: one that hangs has many."""

    def __init__(self) -> None:
        self._ready: dict[str, deque[tuple[int, Work]]] = {}
        """By transport, each with a number in the order of arrival."""
        self._behind: dict[str, deque[Work]] = {}
        """For each recipient that has a job ready or in hand: those that follow."""
        self._arrived = 0
        self._busy: Counter[str] = Counter()
        """Jobs in hand, by transport."""

    @property
    def busy(self) -> int:
        """Jobs in hand."""
        return self._busy.total()

    @property
    def waiting(self) -> int:
        """Jobs that a worker could begin now."""
        return sum(map(len, self._ready.values()))

    @property
    def assured(self) -> int:
        """Those of them for which there shall be a worker, however many there are."""
        return sum(min(len(jobs), max(ASSURED - self._busy[name], 0)) for name, jobs in self._ready.items())

    def add(self, work: Work) -> None:
        behind = self._behind.get(work.place)
        if behind is None:
            self._behind[work.place] = deque()
            self._put(work)
        else:
            behind.append(work)

    def next(self) -> Work | None:
        name = min(self._ready, key=self._turn, default=None)
        if name is None:
            return None
        jobs = self._ready[name]
        work = jobs.popleft()[1]
        if not jobs:
            del self._ready[name]
        self._busy[name] += 1
        return work

    def _turn(self, name: str) -> tuple[bool, int]:
        return self._busy[name] >= ASSURED, self._ready[name][0][0]

    def _put(self, work: Work) -> None:
        self._arrived += 1
        self._ready.setdefault(work.job.transport, deque()).append((self._arrived, work))

    def done(self, work: Work) -> None:
        self._busy[work.job.transport] -= 1
        self._advance(work.place)

    def forget(self, client: BlockingChannel[Job]) -> None:
        """Drop what waits for that client; what is in hand goes on."""
        for place, behind in list(self._behind.items()):
            kept = deque(work for work in behind if work.client is not client)
            for work in behind:
                if work.client is client:
                    work.release()
            self._behind[place] = kept
        ready = [work for jobs in self._ready.values() for _, work in jobs]
        self._ready.clear()
        for work in ready:
            if work.client is client:
                work.release()
                self._advance(work.place)
            else:
                self._put(work)

    def clear(self) -> None:
        """Drop all that waits."""
        for work in [work for jobs in self._ready.values() for _, work in jobs]:
            work.release()
        self._ready.clear()
        for behind in self._behind.values():
            for work in behind:
                work.release()
            behind.clear()

    def _advance(self, place: str) -> None:
        behind = self._behind.get(place)
        if behind:
            self._put(behind.popleft())
        else:
            self._behind.pop(place, None)
