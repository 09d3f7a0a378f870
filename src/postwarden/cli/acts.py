"""What postsuper works on: a running courier, the files of one that is down, the maildrop."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol


class Acts(Protocol):
    """The queue, as far as it can be worked on. Each answers the ids of those it was done with."""

    def act(self, operation: str, queue_ids: Iterable[str], queues: Sequence[str] = ()) -> Iterator[str]: ...

    def act_on_all(self, operation: str, queues: Sequence[str] = ()) -> Iterator[str]: ...
