"""What local delivery does for a name that is no alias: its .forward file, its transport, command or mailbox."""

import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from msgspec import Struct

from postwarden.config.expand import ExpandError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.deliver.local.dotforward import ForwardFiles
from postwarden.deliver.local.macros import Names, names
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Account, Accounts, Identity, Surroundings
from postwarden.deliver.local.tables import LocalMaps
from postwarden.deliver.programs.ports import Program, Ran
from postwarden.explain.ends import MAILBOX, NOWHERE, End, Ends, command
from postwarden.explain.lists import ListError, numbered
from postwarden.mail.events import Event
from postwarden.tables.maps import Maps


class NoPrograms:
    """Nothing is run to explain something."""

    def run(self, program: Program, pieces: Iterable[bytes]) -> Ran:
        return Ran(trouble="nothing is run")


class AsMyself:
    """For who is not root: looks at files with his own rights."""

    def acting_as(self, uid: int, gid: int) -> AbstractContextManager[None]:
        return nullcontext()

    def may_act_as(self, uid: int) -> bool:
        return True


class Forward(Struct, frozen=True):
    path: str
    lines: list[tuple[int, str]]
    why: str = ""
    """What is wrong with it; the mail then goes to the mailbox."""


class Mailboxes:
    def __init__(
        self, settings: Settings, service: str, maps: LocalMaps, accounts: Accounts, identity: Identity, ends: Ends
    ) -> None:
        """`service`: the local transport's key. Raises ConfigError."""
        self._params = view(LocalParams, settings, service)
        self._maps = maps
        self._accounts = accounts
        self._ends = ends
        self._heard: list[str] = []
        around = Surroundings(accounts, identity, self._hear, time.time, lambda s: None, "", NoPrograms())
        self._forwards = ForwardFiles(self._params, around)

    def _hear(self, event: Event) -> None:
        self._heard.append(str(event))

    def forward(self, user: str, address: str, extension: str) -> Forward | None:
        """The .forward file that counts; None: there is none that can be seen."""
        account = self._account(user)
        if account is None:
            return None
        self._heard.clear()
        found = self._forwards.find(account, address, extension)
        why = "; ".join(self._heard)
        if found is None:
            return Forward("", [], why) if why else None
        try:
            return Forward(found.path, numbered(found.text, found.path), why)
        except ListError as error:
            return Forward(found.path, [], str(error))

    def unseen(self, user: str) -> str:
        """Why nobody can say whether the user has a .forward file; empty where it can be said."""
        account = self._account(user)
        if account is None or os.access(account.home, os.X_OK, effective_ids=True) or not os.path.lexists(account.home):
            return ""
        return f"{account.home} can't be looked into: as root this would say more"

    def relay(self, user: str, address: str, extension: str) -> str:
        """Where luser_relay sends mail for a user that does not exist; empty: nowhere."""
        if not self._params.luser_relay or self._account(user) is not None:
            return ""
        if self._chosen(self._maps.mailbox_transport, self._params.mailbox_transport, user):
            return ""
        if self._chosen(self._maps.fallback_transport, self._params.fallback_transport, user):
            return ""
        context = names(address.lower(), user, extension, self._params.recipient_delimiter)
        try:
            return Names(context, None).expand(self._params.luser_relay)
        except ExpandError:
            return ""

    def end(self, user: str) -> End:
        """In local(8)'s order. Raises TableError."""
        p, account = self._params, self._account(user)
        transport = self._chosen(self._maps.mailbox_transport, p.mailbox_transport, user)
        setting = "mailbox_transport"
        if not transport and account is None:
            transport = self._chosen(self._maps.fallback_transport, p.fallback_transport, user)
            setting = "fallback_transport"
        if transport:
            name, _, nexthop = transport.partition(":")
            end = self._ends.transport(name, nexthop, user)
            return End(end.kind, f"{end.text}; by {setting}", end.inside, end.clear)
        if account is None:
            if user in ("mailer-daemon", "postmaster"):
                return End(NOWHERE, f"thrown away: the required alias {user} is missing")
            return End(NOWHERE, "unknown user: the mail bounces")
        line = self._chosen(self._maps.mailbox_command, p.mailbox_command, user)
        if line:
            return command(f"mailbox command {line}", p.local_command_shell, line)
        unseen = self.unseen(user)
        return End(MAILBOX, f"mailbox {self._path(account)}" + (f" ({unseen})" if unseen else ""))

    def _path(self, account: Account) -> str:
        if self._params.home_mailbox:
            return f"{account.home}/{self._params.home_mailbox}"
        spool = self._params.mail_spool_directory
        return f"{spool}{account.name}/" if spool.endswith("/") else f"{spool}/{account.name}"

    def _account(self, user: str) -> Account | None:
        try:
            return self._accounts.by_name(user)
        except OSError:
            return None

    @staticmethod
    def _chosen(maps: Maps, value: str, user: str) -> str:
        found = maps.find(user) if maps else None
        return found.value if found is not None else value
