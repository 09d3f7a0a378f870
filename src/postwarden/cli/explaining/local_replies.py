"""What goes wrong on this machine, and what helps: mailboxes, programs, tables, and the settings that refuse."""

import re

from postwarden.cli.explaining.replies import Meaning, meaning
from postwarden.mail.status import Status

_PROGRAM: tuple[tuple[str, Meaning], ...] = (
    (
        r"fatal: (?:pipe_command: )?execvp ",
        Meaning(
            "the program that is to deliver the mail could not be started, and has seen nothing of it",
            "see that the file named there exists, and that the user whom it runs as may execute it; it is tried again",
        ),
    ),
    (
        r"time limit exceeded",
        Meaning(
            "the program took longer than it may, and was killed",
            "find out what it waits for; command_time_limit (TRANSPORT_time_limit of a pipe transport) is the limit",
        ),
    ),
    (
        r"died with signal",
        Meaning("the program was killed or crashed", "run it by hand as the user it runs as; it is tried again"),
    ),
    (
        r"user unknown",
        Meaning(
            "the program on this machine that delivers the mail says that it does not know the recipient",
            "correct the address, or add the user to what the program asks",
        ),
    ),
    (
        r"temporary failure|system resource",
        Meaning("the program asks to be run again later", "its own log says why; it is tried again"),
    ),
    (
        r"permission denied|can't create|cannot open",
        Meaning("the program may not do what it has to", "see to the owner and mode of what its words name"),
    ),
)  # fmt: skip
_FAILED = Meaning(
    "the program on this machine that delivers the mail failed; its own words are in the text",
    "run it by hand as the user that it runs as, with the message on its standard input",
)
_LOCAL: tuple[tuple[str, Meaning], ...] = (
    (
        r"unknown user",
        Meaning(
            "no user, alias or mailbox of this machine has that name",
            "correct the address, or add the user or an alias",
        ),
    ),
    (
        r"user unknown|unknown in|no such user",
        Meaning("the address is of this machine's domains, and no table has it", "correct the address, or add it"),
    ),
    (
        r"mail forwarding loop|database loop|from one transport to another",
        Meaning(
            "aliases or .forward files lead back to where the mail has been",
            "break the circle: `explain` of the address draws it",
        ),
    ),
    (
        r"(?:cannot (?:update|append)|delivery failed to).*(?:quota|File too large|mailbox size)",
        Meaning(
            "the mailbox on this machine is full",
            "the recipient has to make room; mailbox_size_limit, virtual_mailbox_limit and quotas are the limits",
        ),
    ),
    (
        r"(?:cannot (?:update|append)|delivery failed to).*No space left",
        Meaning("the disk with the mailbox is full", "make room; it is tried again"),
    ),
    (
        r"cannot (?:update|append)|delivery failed to|cannot deliver to mailbox|cannot access home",
        Meaning(
            "the mailbox on this machine can't be written",
            "see to its owner and mode, and to those of its directory: it is written as the recipient",
        ),
    ),
    (
        r"mail to (?:file|command) is restricted",
        Meaning("an alias or .forward file names what it may not name", "allow it there, or take it out"),
    ),
    (
        r"message too large|message size",
        Meaning("the message is larger than this machine's setting allows", "send less, or raise it"),
    ),
    (
        r"alias database|table lookup|address resolver|lookup (?:error|failure)",
        Meaning("a table of this machine could not be asked", "the mail log says which, and why; it is tried again"),
    ),
    (
        r"mail transport unavailable",
        Meaning("master.cf has no such transport, or it does not run", "add it to master.cf; it is tried again"),
    ),
    (
        r"system configuration error|cannot run command|command execution",
        Meaning("something in the configuration of this machine can't be followed", "the mail log says what"),
    ),
    (
        r"unknown mail transport error",
        Meaning(
            "the transport that delivers it can't be used as master.cf has it, or what ran it broke off",
            "correct its entry in master.cf; the mail log of that second says more. It is tried again",
        ),
    ),
    (
        r"deferred transport",
        Meaning("defer_transports puts this transport off", "take it out, or `postqueue -f` tries it now"),
    ),
)  # fmt: skip
_LOCAL_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), known) for pattern, known in _LOCAL)
_PROGRAM_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), known) for pattern, known in _PROGRAM)


_FILTER = re.compile(r"[a-z]+_(?:reply|delivery_status)_filter")
_FILTERED = Meaning(
    "an entry of this machine's configuration changed what was said, or could not be followed",
    "change that entry if that is not meant; for a reply of a server, the mail log has what it said",
)


def meaning_of(status: Status) -> Meaning | None:
    """None: nothing is known of it."""
    if _FILTER.fullmatch(status.cause):
        return _FILTERED
    if status.program_said:
        return next((known for pattern, known in _PROGRAM_PATTERNS if pattern.search(status.text)), _FAILED)
    if status.remote_reply or status.remote_mta or "[" in status.relay:
        return meaning(status.code, f"{status.text} {status.remote_reply}")
    here = next((known for pattern, known in _LOCAL_PATTERNS if pattern.search(status.text)), None)
    if here is not None or status.cause or status.relay != "none":
        return here
    return meaning("", status.text)  # of servers that could not be found or reached
