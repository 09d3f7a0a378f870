"""From a recipient to mailboxes, files and other recipients: what local(8) calls the delivery switch.

Aliases come first, then the user's .forward file, then the mailbox. An alias that leads to a local user is delivered at
once; one with an owner, a list from a file, and every address elsewhere is handed back to the courier, so that each of
those recipients has a status of its own.
"""

import os
import stat

from msgspec.structs import replace

from postwarden.addressing.aliases import Destination, Kind, destinations, include_lines
from postwarden.deliver.local.delivery import Delivery
from postwarden.deliver.local.dotforward import LARGEST, ForwardFiles
from postwarden.deliver.local.lists import AliasTables, UnknownOwner
from postwarden.deliver.local.mailboxes import Mailboxes, Places
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Account, NotPermitted, Resolver, Surroundings
from postwarden.deliver.local.rights import TRUSTED, Rights, of
from postwarden.deliver.local.step import Step
from postwarden.mail.decision import BUILT_IN, Origin, Pending, Rule
from postwarden.mail.events import Warn
from postwarden.mail.status import Status
from postwarden.tables.keys import split_extension
from postwarden.tables.table import TableError

_DEPTH = 50
"""Aliases within aliases. Each costs some eight frames of Python's stack."""

_UNAVAILABLE = Status("4.3.0", "alias database unavailable")
_MISCONFIGURED = Status("5.3.5", "mail system configuration error")


class Expander:
    def __init__(
        self, params: LocalParams, around: Surroundings, aliases: AliasTables, resolver: Resolver, places: Places
    ) -> None:
        self._params = params
        self._around = around
        self._aliases = aliases
        self._resolver = resolver
        self._files = places.files
        self._commands = places.commands
        self._forwards = ForwardFiles(params, around)
        self._mailboxes = Mailboxes(params, around, places, self._to_address)

    def deliver(self, delivery: Delivery, step: Step) -> None:
        """One recipient of this machine. What became of it is noted in `delivery`."""
        if not delivery.first("recipient", str(step.depth), step.address):
            return
        if delivery.letter.delivered_to(step.address):
            delivery.note(step, Status("5.4.6", f"mail forwarding loop for {step.address}"))
            return
        local = _local_part(step.address)
        user, extension = split_extension(local, self._params.recipient_delimiter)
        if "/" in extension:
            self._warn(f"{delivery.job.queue_id}: address with illegal extension: {local}")
            extension = ""
        if not user:
            delivery.note(step, Status("5.1.3", f'null username in "{step.address}"'))
        elif local.startswith("\\"):
            self._mailboxes.deliver(delivery, replace(step, address=step.address[1:]), user[1:], extension)
        elif not self._by_alias(delivery, step, (local, user), extension):
            self._without_alias(delivery, step, user, extension)

    def _without_alias(self, delivery: Delivery, step: Step, user: str, extension: str) -> None:
        if (step.owner and step.owner.lower() != user) or step.source == "include":
            delivery.forward(step)
        elif not self._by_forward(delivery, step, user, extension):
            self._mailboxes.deliver(delivery, step, user, extension)

    def _by_forward(self, delivery: Delivery, step: Step, user: str, extension: str) -> bool:
        """Whether the user's .forward file says where the mail goes. An empty one does not, nor, while it is being
        read, one that leads back to the user; one that has been followed has said it."""
        try:
            account = self._around.accounts.by_name(user)
        except OSError:
            return False
        found = self._forwards.find(account, step.address, extension) if account is not None else None
        if account is None or found is None:
            return False
        if not delivery.first("forward file", "", found.path):
            return delivery.has_seen("forward done", "", found.path)
        unmatched = ""
        if not found.has_extension and "forward" in self._params.propagate_unmatched_extensions:
            unmatched = extension
        inner = replace(
            step,
            source="forward",
            rights=of(account),
            owner=user,
            within=_local_part(step.address),
            extension=unmatched,
            depth=step.depth + 1,
        )
        try:
            lines = [destinations(line) for line in include_lines(found.text)]
        except UnicodeError:
            self._warn(f"file {found.path} is not UTF-8")
            return False
        if any(lines) and delivery.job.probe:
            delivery.note(step, Status("2.0.0", f"forward via file: {found.path}"))
            return True
        if any(lines):
            _note(delivery, ".forward", user, [one for listed in lines for one in listed], _file(found.path))
            delivery.expand(released=step.released)
        for listed in lines:
            self._each(delivery, inner, listed)
        if any(lines):
            delivery.first("forward done", "", found.path)
        return any(lines)

    # Aliases

    def _by_alias(self, delivery: Delivery, step: Step, names: tuple[str, str], extension: str) -> bool:
        """Whether there was an alias: first of the whole local part, then of the user."""
        local, user = names
        if self._alias(delivery, replace(step, extension=""), local):
            return True
        if not extension:
            return False
        unmatched = extension if "alias" in self._params.propagate_unmatched_extensions else ""
        return self._alias(delivery, replace(step, extension=unmatched), user)

    def _alias(self, delivery: Delivery, step: Step, name: str) -> bool:
        if step.within == name:
            return False
        try:
            found = self._aliases.find(name)
        except TableError as error:
            self._warn(str(error))
            delivery.note(step, _UNAVAILABLE)
            return True
        if found is None:
            return False
        if delivery.job.probe:
            delivery.note(step, Status("2.0.0", f"aliased to {found.value}"))
            return True
        if step.depth >= _DEPTH:
            self._warn(f"alias database loop for {name}")
            delivery.note(step, Status("5.4.6", f"alias database loop for {name}", cause="alias_maps"))
            return True
        try:
            rights = self._rights_of_table(found.table)
            step = self._owned(replace(step, rights=rights, source="alias", within=name, depth=step.depth + 1), name)
        except UnknownOwner as error:
            self._warn(str(error))
            delivery.note(step, Status("4.3.0", "cannot find alias database owner"))
            return True
        except TableError as error:
            self._warn(str(error))
            delivery.note(step, _UNAVAILABLE)
            return True
        delivery.expand(released=step.released)
        listed = destinations(found.value)
        _note(delivery, "alias_maps", name, listed, Rule(found.table, found.key, found.origin or BUILT_IN))
        self._each(delivery, step, listed)
        return True

    def _rights_of_table(self, table: str) -> Rights:
        uid = self._aliases.owner(table)
        if uid == 0:
            return TRUSTED
        account = self._account_of(uid)
        if account is None:
            raise UnknownOwner(f"cannot find alias database owner for {table}")
        return of(account)

    def _owned(self, step: Step, name: str) -> Step:
        """owner-NAME becomes the sender, and each recipient of the list a message's of its own. Raises TableError."""
        if self._params.owner_request_special and (owner := self._aliases.find("owner-" + name)):
            listed = owner.value if self._params.expand_owner_alias else "owner-" + name
            first = next((d.value for d in destinations(listed) if d.kind is Kind.ADDRESS), "owner-" + name)
            try:
                sender = self._resolver.resolve(first).recipient
            except Pending:
                raise TableError(owner.table, f"{first}: no answer in time") from None
            return replace(step, owner=sender, sender=sender, released=True)
        return replace(step, owner="") if self._params.reset_owner_alias else step

    def _each(self, delivery: Delivery, step: Step, listed: list[Destination]) -> None:
        for destination in listed:
            match destination.kind:
                case Kind.ADDRESS:
                    self._to_address(delivery, step, destination.value or "MAILER-DAEMON")
                case Kind.FILE:
                    self._to_file(delivery, step, destination.value)
                case Kind.COMMAND:
                    self._to_command(delivery, step, destination.value)
                case Kind.INCLUDE:
                    self._include(delivery, step, destination.value)

    def _to_address(self, delivery: Delivery, step: Step, address: str) -> None:
        mark = "\\" if address.startswith("\\") else ""
        try:
            resolved = self._resolver.resolve(_extended(address[len(mark) :], step.extension))
        except (TableError, Pending) as error:
            self._warn(f"{address}: {error}")
            delivery.note(replace(step, address=address), Status("4.3.0", "address resolver failure"))
            return
        step = replace(step, address=mark + resolved.recipient)
        if resolved.transport == delivery.job.transport:
            self.deliver(delivery, step)
        else:
            delivery.forward(replace(step, address=resolved.recipient))

    def _to_file(self, delivery: Delivery, step: Step, path: str) -> None:
        if not delivery.first("file", str(step.rights.uid), path):
            return
        if step.source not in self._params.allow_mail_to_files:
            delivery.note(step, Status("5.7.1", "mail to file is restricted", cause="allow_mail_to_files"))
            return
        delivery.note(step, self._files.append(delivery, step.rights, path, step))

    def _to_command(self, delivery: Delivery, step: Step, command: str) -> None:
        if step.source not in self._params.allow_mail_to_commands:
            delivery.note(step, Status("5.7.1", "mail to command is restricted", cause="allow_mail_to_commands"))
        elif delivery.first("command", str(step.rights.uid), command):
            delivery.note(step, self._commands.run(delivery, step.rights, command, step))

    # Lists in files

    def _include(self, delivery: Delivery, step: Step, path: str) -> None:
        if not delivery.first("include", str(step.rights.uid), path):
            return
        try:
            state, text = self._read_list(step.rights, path)
            rights = self._rights_of_list(step.rights, path, state)
        except NotPermitted as error:
            delivery.note(step, Status("4.3.5", str(error)))
            return
        except UnknownOwner as error:
            self._warn(str(error))
            delivery.note(step, Status("4.3.5", _MISCONFIGURED.text))
            return
        except (OSError, UnicodeError) as error:
            self._warn(_why_no_list(path, error))
            delivery.note(step, _MISCONFIGURED)
            return
        extension = step.extension if "include" in self._params.propagate_unmatched_extensions else ""
        inner = replace(
            step,
            source="include",
            rights=rights,
            extension=extension,
            owner=step.owner or step.address,
            within=_local_part(step.address),
            depth=step.depth + 1,
        )
        lines = [destinations(line) for line in include_lines(text)]
        _note(delivery, ":include:", path, [one for listed in lines for one in listed], _file(path))
        for listed in lines:
            self._each(delivery, inner, listed)

    def _read_list(self, rights: Rights, path: str) -> tuple[os.stat_result, bytes]:
        if not path.startswith("/"):
            raise OSError(0, "uses a relative path")
        with self._around.identity.acting_as(rights.uid, rights.gid), open(path, "rb", opener=_without_waiting) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise OSError(0, "is not a regular file")
            if state.st_mode & stat.S_IWOTH:
                raise OSError(0, "is world writable")
            if state.st_size > LARGEST:
                raise OSError(0, "is too large")
            return state, file.read()

    def _rights_of_list(self, rights: Rights, path: str, state: os.stat_result) -> Rights:
        """A list in root's alias has the rights of its owner, lest the owner get hold of default_privs. A list in a
        user's alias keeps that user's rights: naming somebody's file must not lend his rights."""
        if rights.uid != 0 or state.st_uid == 0:
            return rights
        account = self._account_of(state.st_uid)
        if account is None:
            raise UnknownOwner(f"{path}: cannot find :include: file owner username")
        return of(account)

    def _account_of(self, uid: int) -> Account | None:
        try:
            return self._around.accounts.by_uid(uid)
        except OSError as error:
            raise UnknownOwner(f"uid {uid}: {error.strerror}") from error

    def _warn(self, text: str) -> None:
        self._around.emit(Warn(text))


def _note(delivery: Delivery, parameter: str, before: str, listed: list[Destination], rule: Rule) -> None:
    delivery.remaking.note(parameter, before, tuple(map(str, listed)), rule)


def _file(path: str) -> Rule:
    return Rule(path, "", Origin(path, 0, ""))


def _local_part(address: str) -> str:
    local, at, _ = address.rpartition("@")
    return (local if at else address).lower()


def _extended(address: str, extension: str) -> str:
    if not extension:
        return address
    local, at, domain = address.rpartition("@")
    return f"{local}{extension}@{domain}" if at else address + extension


def _without_waiting(path: str, flags: int) -> int:
    """Opening a FIFO must not wait for somebody to write into it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _why_no_list(path: str, error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return f":include: file {path} is not UTF-8"
    if not path.startswith("/"):
        return f":include:{path} {error.strerror}"
    if not error.errno:
        return f":include: file {path} {error.strerror}"
    return f"unable to lookup :include: file {path}: {error.strerror}"
