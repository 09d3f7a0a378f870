"""What the agent's supervisor and its workers say to each other. Jobs go one way, as the courier sent them."""

from msgspec import Struct

from postwarden.ipc.records import Forward, Outcome


class Able(Struct, frozen=True, array_like=True, tag=10):
    """The worker has read its configuration and takes jobs."""


class Unable(Struct, frozen=True, array_like=True, tag=11):
    """The configuration can't be used; `reason` names file and line. The worker ends."""

    reason: str


class Running(Struct, frozen=True, array_like=True, tag=12):
    """The worker runs a program, which it will kill itself after `limit` seconds."""

    limit: float


FromWorker = Outcome | Forward | Able | Unable | Running
