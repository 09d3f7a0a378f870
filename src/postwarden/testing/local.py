"""A machine with users, for local delivery: accounts in memory, files of the user who runs the test."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from postwarden.deliver.local.ports import Account, NotPermitted, Surroundings
from postwarden.deliver.programs.ports import Program, Ran
from postwarden.mail.events import Event


class MemoryAccounts:
    """Accounts by name. Those whose name is in `broken` can't be looked up now."""

    def __init__(self, *accounts: Account) -> None:
        self._accounts = {account.name: account for account in accounts}
        self.broken: set[str] = set()

    def add(self, account: Account) -> None:
        self._accounts[account.name] = account

    def by_name(self, name: str) -> Account | None:
        if name in self.broken:
            raise OSError(5, os.strerror(5))
        return self._accounts.get(name)

    def by_uid(self, uid: int) -> Account | None:
        return next((account for account in self._accounts.values() if account.uid == uid), None)

    def group(self, name: str) -> int | None:
        account = self._accounts.get(name)
        return None if account is None else account.gid


class NotedIdentity:
    """Becomes nobody, but notes who was to be acted as. `forbidden` users it refuses, as a process without root."""

    def __init__(self) -> None:
        self.acted: list[tuple[int, int]] = []
        self.forbidden: set[int] = set()

    @contextmanager
    def acting_as(self, uid: int, gid: int) -> Iterator[None]:
        if uid in self.forbidden:
            raise NotPermitted(f"may not act as {uid}")
        self.acted.append((uid, gid))
        yield

    def may_act_as(self, uid: int) -> bool:
        return uid not in self.forbidden


class PlayedPrograms:
    """Runs nothing: keeps what it was to run, with its input, and answers `ran`, or raises `error`."""

    def __init__(self) -> None:
        self.run_: list[tuple[Program, bytes]] = []
        self.ran = Ran()
        self.error: Exception | None = None

    def run(self, program: Program, pieces: Iterable[bytes]) -> Ran:
        self.run_.append((program, b"".join(pieces)))
        if self.error is not None:
            raise self.error
        return self.ran


class LocalMachine:
    """What `surroundings` gives: a clock that `sleep` moves, a log that is kept, users."""

    def __init__(self, *accounts: Account) -> None:
        self.accounts = MemoryAccounts(*accounts)
        self.identity = NotedIdentity()
        self.programs = PlayedPrograms()
        self.logged: list[Event] = []
        self.time = 1_700_000_000.25
        self.slept = 0.0
        self.surroundings = Surroundings(
            self.accounts, self.identity, self.logged.append, lambda: self.time, self._sleep, "box", self.programs
        )

    def _sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept += seconds

    @property
    def log(self) -> list[str]:
        return [f"{event.level}: {event}" for event in self.logged]
