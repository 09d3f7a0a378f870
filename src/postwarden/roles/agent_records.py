"""What the agent's supervisor and its workers say to each other. Jobs go one way, as the courier sent them."""

from msgspec import Struct

from postwarden.ipc.records import Forward, Outcome


class Able(Struct, frozen=True, array_like=True, tag=10):
    """The worker has read its configuration and takes jobs."""


class Unable(Struct, frozen=True, array_like=True, tag=11):
    """The configuration can't be used; `reason` names file and line. The worker ends."""

    reason: str


FromWorker = Outcome | Forward | Able | Unable
