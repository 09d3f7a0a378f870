"""Where mail for a name goes that no alias and no .forward file claims: a transport, a command, a mailbox."""

import os
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from postwarden.config.expand import ExpandError
from postwarden.deliver.local.commands import Commands
from postwarden.deliver.local.delivery import Delivery
from postwarden.deliver.local.files import Files
from postwarden.deliver.local.macros import Names, names
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Account, NotPermitted, Surroundings
from postwarden.deliver.local.rights import of
from postwarden.deliver.local.step import Step
from postwarden.deliver.local.tables import LocalMaps
from postwarden.mail.address import external
from postwarden.mail.events import Notice, Warn, printable
from postwarden.mail.status import Status
from postwarden.tables.maps import Maps
from postwarden.tables.table import TableError

_LOOKUP_ERROR = Status("4.3.0", "table lookup error")


class Places(Struct, frozen=True):
    """What mail can be given to, once it is known in whose name."""

    files: Files
    commands: Commands
    maps: LocalMaps


class Mailboxes:
    """In local(8)'s order: mailbox_transport_maps, mailbox_transport, then for users mailbox_command_maps,
    mailbox_command and the mailbox, for others fallback_transport_maps, fallback_transport, luser_relay."""

    def __init__(
        self,
        params: LocalParams,
        around: Surroundings,
        places: Places,
        to_address: Callable[[Delivery, Step, str], None],
    ) -> None:
        """`to_address` goes on with an address."""
        self._params = params
        self._around = around
        self._places = places
        self._to_address = to_address

    def deliver(self, delivery: Delivery, step: Step, user: str, extension: str) -> None:
        """`extension` with its delimiter. What became of it is noted in `delivery`."""
        try:
            account = self._around.accounts.by_name(user)
        except OSError as error:
            self._warn(f"error looking up passwd info for {user}: {error.strerror}")
            delivery.note(step, Status("4.0.0", "user lookup error"))
            return
        p, maps = self._params, self._places.maps
        try:
            transport = _chosen(maps.mailbox_transport, p.mailbox_transport, user)
            if not transport and account is None:
                transport = _chosen(maps.fallback_transport, p.fallback_transport, user)
            command = _chosen(maps.mailbox_command, p.mailbox_command, user) if account is not None else ""
        except TableError as error:
            self._warn(str(error))
            delivery.note(step, _LOOKUP_ERROR)
            return
        if transport:
            self._pass(delivery, step, transport)
        elif account is None:
            self._unknown(delivery, step, user, extension)
        elif not delivery.first("mailbox", "", f"{user}{extension}"):
            return
        elif lacking := self._homeless(account):
            delivery.note(step, lacking)
        elif command:
            delivery.note(step, self._places.commands.run(delivery, of(account), command, step))
        else:
            delivery.note(step, self._places.files.mailbox(delivery, account, step))

    def _homeless(self, account: Account) -> Status | None:
        """require_home_directory: a home on a disk that is not there comes back with it."""
        if not self._params.require_home_directory:
            return None
        try:
            with self._around.identity.acting_as(account.uid, account.gid):
                os.stat(account.home)
        except NotPermitted:
            return None  # then the mailbox can't be written either, and that says so
        except OSError as error:
            return Status("4.3.0", f"cannot access home directory {account.home}: {error.strerror}")
        return None

    def _pass(self, delivery: Delivery, step: Step, value: str) -> None:
        transport, _, nexthop = value.partition(":")
        if not transport or transport == delivery.job.transport:
            self._warn(f'mailbox_transport or fallback_transport: "{value}" does not lead away from local delivery')
            delivery.note(step, Status("4.3.5", "mail system configuration error"))
        else:
            address = printable(external(step.address))
            self._around.emit(Notice(f"{delivery.job.queue_id}: passing <{address}> to transport={transport}"))
            delivery.give(step, transport, nexthop or delivery.job.nexthop)

    def _unknown(self, delivery: Delivery, step: Step, user: str, extension: str) -> None:
        if self._params.luser_relay and not step.caught:
            self._relay(delivery, step, user, extension)
        elif user in ("mailer-daemon", "postmaster"):
            self._warn(f"required alias not found: {user}")
            delivery.note(step, Status("2.0.0", "discarded"))
        else:
            text = f'unknown user: "{user}"'
            cause = "alias_maps and its accounts, which have no such name"
            delivery.note(step, Status("5.1.1", text, cause=cause))

    def _relay(self, delivery: Delivery, step: Step, user: str, extension: str) -> None:
        context = names(step.address.lower(), user, extension, self._params.recipient_delimiter)
        try:
            address = Names(context, None).expand(self._params.luser_relay)
        except ExpandError as error:
            self._warn(f"luser_relay: {error}")
            delivery.note(step, Status("4.3.5", "mail system configuration error"))
            return
        inner = replace(step, extension="", depth=step.depth + 1, caught=True)
        if address:
            self._to_address(delivery, inner, address)
        else:
            self._unknown(delivery, inner, user, extension)

    def _warn(self, text: str) -> None:
        self._around.emit(Warn(text))


def _chosen(maps: Maps, value: str, user: str) -> str:
    """What a table has for the user, or what holds for all. Raises TableError."""
    found = maps.find(user) if maps else None
    return found.value if found is not None else value
