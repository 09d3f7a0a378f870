"""Opening a file that a user may have prepared against us: links, special files, changes between two looks."""

import errno
import os
import stat

from postwarden.deliver.local.faults import MailboxFault, fault

_DEFAULT = "5.2.0"
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def open_for_append(path: str, owner: tuple[int, int] | None = None) -> tuple[int, os.stat_result]:
    """A descriptor of the existing file or of a new one, mode 0600, which gets `owner` if given.

    Raises MailboxFault for a directory, for a file with more than one name, and for a symbolic link, unless root made
    it in a directory where only root can write: that is how an administrator moves a mailbox.
    """
    try:
        return _existing(path)
    except FileNotFoundError:
        pass
    try:
        return _new(path, owner)
    except FileExistsError:
        pass
    try:
        return _existing(path)
    except OSError as error:
        # A symbolic link to nowhere, or a file that comes and goes.
        raise fault(error, "cannot open file", _DEFAULT) from error


def _existing(path: str) -> tuple[int, os.stat_result]:
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise fault(error, "cannot open file", _DEFAULT) from error
    try:
        state = os.fstat(fd)
        _check(path, state)
    except MailboxFault:
        os.close(fd)
        raise
    return fd, state


def _new(path: str, owner: tuple[int, int] | None) -> tuple[int, os.stat_result]:
    try:
        fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise
    except OSError as error:
        raise fault(error, "cannot create file exclusively", _DEFAULT) from error
    if owner is not None:
        os.fchown(fd, *owner)
    return fd, os.fstat(fd)


def _check(path: str, opened: os.stat_result) -> None:
    if stat.S_ISDIR(opened.st_mode):
        raise MailboxFault(_DEFAULT, "file is a directory", errno.EISDIR)
    if opened.st_nlink != 1:
        raise MailboxFault(_DEFAULT, f"file has {opened.st_nlink} hard links", errno.EPERM)
    try:
        named = os.lstat(path)
    except OSError as error:
        raise MailboxFault(_DEFAULT, f"file status changed unexpectedly: {error.strerror}", errno.EPERM) from error
    if stat.S_ISLNK(named.st_mode):
        if not _administrators_link(path, named):
            raise MailboxFault(_DEFAULT, "file is a symbolic link", errno.EPERM)
    elif (named.st_dev, named.st_ino, named.st_mode) != (opened.st_dev, opened.st_ino, opened.st_mode):
        raise MailboxFault(_DEFAULT, "file status changed unexpectedly", errno.EPERM)


def _administrators_link(path: str, link: os.stat_result) -> bool:
    if link.st_uid != 0:
        return False
    try:
        parent = os.stat(os.path.dirname(path) or ".")
    except OSError:
        return False
    return parent.st_uid == 0 and not parent.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
