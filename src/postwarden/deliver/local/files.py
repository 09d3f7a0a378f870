"""Mailboxes, and files that an alias names: where they are, and with whose rights they are written."""

import errno
import os
import stat
from collections.abc import Iterator

from postwarden.deliver.local import maildir, mbox
from postwarden.deliver.local.delivery import Delivery, Place
from postwarden.deliver.local.faults import MailboxFault
from postwarden.deliver.local.letter import envelope_line, local_headers
from postwarden.deliver.local.locks import Locker
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Account, NotPermitted, Surroundings
from postwarden.deliver.local.rights import Rights, of
from postwarden.mail.events import Warn
from postwarden.mail.status import Status

_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


class Files:
    def __init__(self, params: LocalParams, around: Surroundings, locker: Locker, default: Rights) -> None:
        """`default`: default_privs."""
        self._params = params
        self._around = around
        self._locker = locker
        self._default = default

    def mailbox(self, delivery: Delivery, account: Account, place: Place) -> Status:
        """Into the mailbox of a user, in his name."""
        p = self._params
        if delivery.job.trace == "verify":
            kind = "maildir" if (p.home_mailbox or p.mail_spool_directory).endswith("/") else "mailbox"
            return Status("2.0.0", f"delivers to {kind}")
        rights = of(account)
        try:
            if p.home_mailbox:
                path = f"{account.home}/{p.home_mailbox}"
                if path.endswith("/"):
                    return self._maildir(delivery, rights, path, place)
                return self._spool(delivery, account, path, rights, place)
            if p.mail_spool_directory.endswith("/"):
                return self._maildir(delivery, rights, f"{p.mail_spool_directory}{account.name}/", place)
            path = f"{p.mail_spool_directory}/{account.name}"
            return self._spool(delivery, account, path, self._spool_rights(rights), place)
        except NotPermitted as error:
            return Status("4.3.5", f"cannot deliver to mailbox of {account.name}: {error}")

    def append(self, delivery: Delivery, rights: Rights, path: str, place: Place) -> Status:
        """Into a file or Maildir that an alias names."""
        if delivery.job.trace == "verify":
            return Status("2.0.0", "delivers to maildir" if path.endswith("/") else f"delivers to file: {path}")
        rights = self._default if rights.uid == 0 else rights
        try:
            if path.endswith("/"):
                return self._maildir(delivery, rights, path, place)
            with self._around.identity.acting_as(rights.uid, rights.gid):
                self._append(delivery, path, place)
        except NotPermitted as error:
            return Status("4.3.5", f"cannot append message to file {path}: {error}")
        except MailboxFault as error:
            return Status(error.code, f"cannot append message to file {path}: {error.text}")
        return Status("2.0.0", f"delivered to file: {path}")

    def _append(self, delivery: Delivery, path: str, place: Place) -> None:
        with mbox.locked(path, self._locker, lenient=self._around.emit) as (fd, state):
            if stat.S_ISREG(state.st_mode) and state.st_mode & _EXECUTABLE:
                raise MailboxFault("5.7.1", "file is executable")
            limit, large = self._params.mailbox_size_limit, delivery.letter.large
            mbox.append(fd, self._mbox_text(delivery, place), limit, expected=large)

    def _spool_rights(self, rights: Rights) -> Rights:
        """In whose name a mailbox is locked and opened. Where all may write in the spool directory, the user's; where
        a group may, that group's for the sake of `path.lock`; where only root may, root's."""
        try:
            state = os.stat(self._params.mail_spool_directory)
        except OSError:
            return rights
        if state.st_mode & stat.S_IWOTH:
            return rights
        if state.st_mode & stat.S_IWGRP:
            return Rights(rights.uid, state.st_gid)
        return Rights(0, 0)

    def _spool(self, delivery: Delivery, account: Account, path: str, spool: Rights, place: Place) -> Status:
        identity = self._around.identity
        own = not identity.may_act_as(0)
        rights = of(account)
        if own:
            # Without root nobody can give us the spool's group or root's rights: the user's own have to do.
            spool = rights
        owner = None if spool.uid == rights.uid else (rights.uid, rights.gid)
        lenient = self._around.emit if own else None
        try:
            with (
                identity.acting_as(spool.uid, spool.gid),
                mbox.locked(path, self._locker, owner=owner, lenient=lenient) as (fd, state),
            ):
                self._check(path, rights, state)
                text, large = self._mbox_text(delivery, place), delivery.letter.large
                if owner is None:
                    mbox.append(fd, text, self._params.mailbox_size_limit, expected=large)
                else:
                    with identity.acting_as(rights.uid, rights.gid):
                        mbox.append(fd, text, self._params.mailbox_size_limit, expected=large)
        except MailboxFault as error:
            # What an ordinary user may not do here can still be done by a gateway that is started as root.
            code = f"4{error.code[1:]}" if own and error.denied else error.code
            cause = "mailbox_size_limit" if error.errno == errno.EFBIG else ""
            return Status(code, f"cannot update mailbox {path} for user {account.name}. {error.text}", cause=cause)
        return Status("2.0.0", "delivered to mailbox")

    def _check(self, path: str, rights: Rights, state: os.stat_result) -> None:
        if not stat.S_ISREG(state.st_mode):
            raise MailboxFault("5.2.0", f"destination {path} is not a regular file")
        if self._params.strict_mailbox_ownership and state.st_uid != rights.uid:
            self._around.emit(Warn('specify "strict_mailbox_ownership = no" to ignore mailbox ownership mismatch'))
            raise MailboxFault("4.2.0", f"destination {path} is not owned by recipient")

    def _maildir(self, delivery: Delivery, rights: Rights, path: str, place: Place) -> Status:
        pieces = delivery.letter.pieces(self._headers(delivery, place), b"", quote=False)
        return maildir.deliver_as(rights, self._around, path, pieces, self._params.mailbox_size_limit)

    def _headers(self, delivery: Delivery, place: Place) -> str:
        p = self._params
        delivered = delivery.recipient.address if p.frozen_delivered_to else place.address
        if "file" not in p.prepend_delivered_header:
            delivered = ""
        return local_headers(place.sender, delivery.recipient, delivered, original=p.enable_original_recipient)

    def _mbox_text(self, delivery: Delivery, place: Place) -> Iterator[bytes]:
        line = envelope_line(place.sender, self._around.now())
        return delivery.letter.pieces(line + self._headers(delivery, place), b"\n", quote=True)
