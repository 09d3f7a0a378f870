"""The order in which the agent's workers get jobs."""

import os
from collections import deque

from msgspec import Struct

from postwarden.ipc.channel import BlockingChannel
from postwarden.ipc.records import Job


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
    for other recipients."""

    def __init__(self) -> None:
        self._ready: deque[Work] = deque()
        self._behind: dict[str, deque[Work]] = {}
        """For each recipient that has a job ready or in hand: those that follow."""
        self.busy = 0
        """Jobs in hand."""

    @property
    def waiting(self) -> int:
        """Jobs that a worker could begin now."""
        return len(self._ready)

    def add(self, work: Work) -> None:
        behind = self._behind.get(work.place)
        if behind is None:
            self._behind[work.place] = deque()
            self._ready.append(work)
        else:
            behind.append(work)

    def next(self) -> Work | None:
        if not self._ready:
            return None
        self.busy += 1
        return self._ready.popleft()

    def done(self, work: Work) -> None:
        self.busy -= 1
        self._advance(work.place)

    def forget(self, client: BlockingChannel[Job]) -> None:
        """Drop what waits for that client; what is in hand goes on."""
        for place, behind in list(self._behind.items()):
            kept = deque(work for work in behind if work.client is not client)
            for work in behind:
                if work.client is client:
                    work.release()
            self._behind[place] = kept
        for work in [work for work in self._ready if work.client is client]:
            self._ready.remove(work)
            work.release()
            self._advance(work.place)

    def clear(self) -> None:
        """Drop all that waits."""
        for queue in (self._ready, *self._behind.values()):
            for work in queue:
                work.release()
            queue.clear()

    def _advance(self, place: str) -> None:
        behind = self._behind.get(place)
        if behind:
            self._ready.append(behind.popleft())
        else:
            self._behind.pop(place, None)
