"""A user's .forward file: where it is (forward_path), and whether it may be believed."""

import os
import stat

from msgspec import Struct

from postwarden.config.expand import ExpandError
from postwarden.config.values import split
from postwarden.deliver.local.macros import Names, names
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Account, NotPermitted, Surroundings
from postwarden.mail.events import Warn

LARGEST = 64 << 20
"""Bytes of a list: a million addresses and more. A file with holes costs its owner nothing, and whoever reads it as
much memory as it claims."""


class ForwardFile(Struct, frozen=True):
    path: str
    text: bytes
    """Empty where the file must not be believed: the mail then goes to the mailbox."""
    has_extension: bool
    """Its name holds the address extension, which is thereby matched."""


class ForwardFiles:
    def __init__(self, params: LocalParams, around: Surroundings) -> None:
        self._patterns = split(params.forward_path)
        self._allowed = frozenset(params.forward_expansion_filter)
        self._delimiter = params.recipient_delimiter
        self._around = around

    def find(self, account: Account, address: str, extension: str) -> ForwardFile | None:
        """The first file of forward_path that is there, looked at as the user."""
        if not self._patterns:
            return None
        try:
            with self._around.identity.acting_as(account.uid, account.gid):
                for pattern in self._patterns:
                    path = self._path(pattern, account, address, extension)
                    if path:
                        found = self._look(path, account)
                        if found is not None:
                            return ForwardFile(path, found, bool(extension) and "$" in pattern and extension in path)
        except NotPermitted:
            # Then the mailbox can't be written either, and that says so.
            return None
        return None

    def _path(self, pattern: str, account: Account, address: str, extension: str) -> str:
        """Empty where the pattern uses what this address does not have."""
        values = names(address, account.name, extension, self._delimiter)
        context = Names({**values, "home": account.home, "shell": account.shell}, self._allowed)
        try:
            path = context.expand(pattern)
        except ExpandError as error:
            self._warn(f"forward_path: {error}")
            return ""
        return "" if context.missing or not path.startswith("/") else path

    def _look(self, path: str, account: Account) -> bytes | None:
        try:
            fault = _fault(os.lstat(path), account)
        except OSError:
            return None
        if fault:
            return self._refused(f"file {path} {fault}")
        try:
            with open(path, "rb", opener=_as_it_is) as file:
                # Whoever may write in the directory may have put another in its place since.
                if fault := _fault(os.fstat(file.fileno()), account):
                    return self._refused(f"file {path} {fault}")
                return file.read()
        except OSError as error:
            return self._refused(f"cannot open file {path}: {error.strerror}")

    def _refused(self, text: str) -> bytes:
        self._warn(text)
        return b""

    def _warn(self, text: str) -> None:
        self._around.emit(Warn(text))


def _fault(state: os.stat_result, account: Account) -> str:
    if not stat.S_ISREG(state.st_mode):
        return "is not a regular file"
    if state.st_uid not in (0, account.uid):
        return f"has bad owner uid {state.st_uid}"
    if state.st_mode & stat.S_IWOTH:
        return "is world writable"
    return "is too large" if state.st_size > LARGEST else ""


def _as_it_is(path: str, flags: int) -> int:
    """No link that was put there since we looked, and no waiting for whoever writes into a FIFO."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
