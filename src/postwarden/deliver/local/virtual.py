"""The transport `virtual`: mailboxes of people who are no users of this machine (virtual(8))."""

import errno
import os
from collections.abc import Callable, Iterator

from postwarden.config.settings import Settings
from postwarden.deliver.body import Body
from postwarden.deliver.local import maildir, mbox
from postwarden.deliver.local.faults import MailboxFault
from postwarden.deliver.local.letter import Letter, envelope_line, local_headers
from postwarden.deliver.local.locks import Locker, plan
from postwarden.deliver.local.params import VirtualParams
from postwarden.deliver.local.ports import NotPermitted, Surroundings
from postwarden.deliver.local.rights import Rights
from postwarden.deliver.local.unexpanded import outcome
from postwarden.ipc.records import Forward, Job, Outcome
from postwarden.mail.address import split
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Recipient
from postwarden.mail.events import Warn
from postwarden.mail.status import Status
from postwarden.tables.keys import split_extension
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found, TableError

_MISCONFIGURED = Status("4.3.5", "mail system configuration error")


VirtualMaps = tuple[Maps, Maps, Maps]
"""virtual_mailbox_maps, virtual_uid_maps, virtual_gid_maps."""


class Misconfigured(Exception):
    """The text is for the log; the mail waits until the operator has seen to it."""


class VirtualDeliverer:
    def __init__(self, params: VirtualParams, around: Surroundings, maps: VirtualMaps, lock: Locker) -> None:
        self._params = params
        self._around = around
        self._mailboxes, self._uids, self._gids = maps
        self._locker = lock

    def deliver(self, job: Job, body: Body, forwarded: Callable[[Forward], None]) -> Outcome:
        """The outcome of the job; it forwards nothing."""
        handed = self._around.now()
        letter = Letter(job.sender, job.head, body)

        def status(index: int, recipient: Recipient) -> Status:
            return self._recipient(job, letter, recipient)

        return outcome(letter, self._around, handed, job, status, soft_bounce=self._params.soft_bounce)

    def _recipient(self, job: Job, letter: Letter, recipient: Recipient) -> Status:
        address = recipient.address
        if letter.delivered_to(address):
            return Status("5.4.6", f"mail forwarding loop for {address}")
        try:
            found = self._find(self._mailboxes, address)
            if found is None:
                text = f'unknown user: "{address.lower()}"'
                return Status("5.1.1", text, cause="virtual_mailbox_maps, which does not have this address")
            if not self._params.virtual_mailbox_base:
                raise Misconfigured("virtual_mailbox_base is empty")
            rights = Rights(
                self._number(self._uids, address, "virtual_uid_maps", self._params.virtual_minimum_uid),
                self._number(self._gids, address, "virtual_gid_maps", 1),
            )
        except TableError as error:
            self._around.emit(Warn(str(error)))
            return Status("4.3.5", "table lookup error")
        except Pending:
            return Status("4.3.5", "table lookup error")
        except Misconfigured as error:
            self._around.emit(Warn(f"recipient {address}: {error}"))
            return _MISCONFIGURED
        path = f"{self._params.virtual_mailbox_base}/{found.value}"
        if job.trace == "verify":
            return Status("2.0.0", "delivers to maildir" if path.endswith("/") else "delivers to mailbox")
        headers = local_headers(
            job.sender, recipient, recipient.address, original=self._params.enable_original_recipient
        )
        try:
            if path.endswith("/"):
                pieces = letter.pieces(headers, b"", quote=False)
                limit = self._params.virtual_mailbox_limit
                return maildir.deliver_as(rights, self._around, path, pieces, limit, code=_softened)
            text = envelope_line(job.sender, self._around.now()) + headers
            return self._mbox(path, rights, letter.pieces(text, b"\n", quote=True), letter.large)
        except NotPermitted as error:
            return Status("4.3.5", f"delivery failed to mailbox {path}: {error}")

    def _find(self, maps: Maps, address: str) -> Found | None:
        """`user+ext@domain`, `user@domain`, `@domain`. Raises TableError, Pending."""
        found = maps.find(address)
        if found is not None:
            return found
        local, domain = split(address)
        bare, extension = split_extension(local, self._params.recipient_delimiter)
        if extension and (found := maps.find(f"{bare}@{domain}", part=True)):
            return found
        return maps.find(f"@{domain}", part=True)

    def _number(self, maps: Maps, address: str, name: str, least: int) -> int:
        found = self._find(maps, address)
        if found is None:
            raise Misconfigured(f"not found in {name}")
        if not found.value.isascii() or not found.value.isdigit() or int(found.value) < least:
            raise Misconfigured(f"bad {name.split('_')[1]} {found.value} in {name}")
        return int(found.value)

    def _mbox(self, path: str, rights: Rights, pieces: Iterator[bytes], expected: int) -> Status:
        try:
            with self._around.identity.acting_as(rights.uid, rights.gid):
                if not os.path.isdir(os.path.dirname(path)):
                    maildir.make(os.path.dirname(path))
                with mbox.locked(path, self._locker) as (fd, state):
                    if self._params.strict_mailbox_ownership and state.st_uid != rights.uid:
                        raise MailboxFault("4.2.0", f"destination {path} is not owned by recipient")
                    mbox.append(fd, pieces, self._params.virtual_mailbox_limit, expected=expected)
        except MailboxFault as error:
            return Status(_softened(error), f"delivery failed to mailbox {path}: {error.text}")
        return Status("2.0.0", "delivered to mailbox")


def _softened(error: MailboxFault) -> str:
    """The mailbox is the operator's, not a user's: what is wrong with it he can put right, and the mail waits. A quota
    is meant."""
    return error.code if error.errno in (errno.EDQUOT, errno.EFBIG) else f"4{error.code[1:]}"


def virtual_deliverer(
    settings: Settings, service: str, params: VirtualParams, around: Surroundings, maps: VirtualMaps
) -> VirtualDeliverer:
    """Raises ConfigError for a locking method that does not exist."""
    locking = plan(
        params.virtual_mailbox_lock,
        params.deliver_lock_attempts,
        params.deliver_lock_delay,
        params.stale_lock_time,
        settings.origin("virtual_mailbox_lock", service),
    )
    return VirtualDeliverer(params, around, maps, Locker(locking, around.now, around.sleep))
