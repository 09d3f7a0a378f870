"""Why a mailbox could not be written, and which status code that is."""

import errno
import os

_TRY_AGAIN = frozenset((errno.EAGAIN, errno.ESTALE))
_OVER_QUOTA = frozenset((errno.EDQUOT, errno.EFBIG))
# The machine's trouble, not the mailbox's: it passes when the operator has seen to it, so the mail must not bounce.
_OF_THE_SYSTEM = frozenset(
    (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOLCK, errno.EINTR)
)


class MailboxFault(Exception):
    """Nothing was delivered, and the file is as it was. `code` is the enhanced status code."""

    def __init__(self, code: str, text: str, number: int = 0) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.errno = number

    @property
    def denied(self) -> bool:
        return self.errno == errno.EACCES


def fault(error: OSError, what: str, default: str) -> MailboxFault:
    """`what: reason`, with the code that belongs to the reason, or `default`."""
    number = error.errno or 0
    return MailboxFault(code_of(number, default), f"{what}: {os.strerror(number)}", number)


def code_of(number: int, default: str) -> str:
    if number in _TRY_AGAIN:
        return "4.2.0"
    if number in _OVER_QUOTA:
        return "5.2.2"
    return "4.3.0" if number in _OF_THE_SYSTEM else default
