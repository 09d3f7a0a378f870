"""Whose fault a failed delivery is: another server's, a program's, or a setting's of this machine."""

import pytest
from msgspec.structs import replace

from postwarden.cli.explaining.local_replies import meaning_of
from postwarden.mail.status import Status

NOT_RUN = "pipe: fatal: pipe_command: execvp /no/such/prog: No such file or directory"
FILTERED = Status("4.1.1", "host mx[192.0.2.1] said: 450 5.1.1 no such user", "mx[192.0.2.1]:25", remote_reply="450")
NO_USER = "user unknown. Command output: no such user"


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (
            Status("5.1.1", "host mx[192.0.2.1] said: 550 5.1.1 no such user", "mx[192.0.2.1]:25"),
            "the other server does",
        ),
        (replace(FILTERED, cause="smtp_reply_filter"), "an entry of this machine's configuration"),
        (replace(FILTERED, cause="lmtp_delivery_status_filter"), "an entry of this machine's configuration"),
        (replace(FILTERED, cause="transport_maps"), "the other server does not know"),
        (Status("5.4.6", "mail for x.example loops back to myself"), "the mail would be sent to this machine again"),
        (Status("5.1.1", NO_USER, "fax", program_said="no such user"), "the program on this machine that delivers"),
        (Status("5.3.0", "Command died with status 1", "fax", program_said="x"), "the program on this machine"),
        (Status("5.3.0", 'Command time limit exceeded: "/x"', "local", program_said="x"), "the program took longer"),
        (
            Status("5.1.1", 'unknown user: "bob"', "local", cause="alias_maps"),
            "no user, alias or mailbox of this machine",
        ),
        (
            Status("5.1.1", 'unknown user: "bob@v.example"', "virtual", cause="virtual_mailbox_maps"),
            "no user, alias or",
        ),
        (Status("5.1.1", "User unknown in virtual alias table", cause="virtual_alias_maps"), "the address is of this"),
        (
            Status("5.2.2", "cannot update mailbox /m/bob for user bob. Disk quota exceeded", "local"),
            "the mailbox on this",
        ),
        (
            Status("4.3.0", "cannot update mailbox /m/b for user b. No space left on device", "local"),
            "the disk with the",
        ),
        (
            Status("4.2.0", "delivery failed to mailbox /v/b: Permission denied", "virtual"),
            "the mailbox on this machine",
        ),
        (Status("5.4.6", "mail forwarding loop for bob@here", "local"), "aliases or .forward files lead back"),
        (
            Status("4.3.0", f"temporary failure. Command output: {NOT_RUN}", "fax", program_said=NOT_RUN),
            "the program that is to deliver the mail could not be started",
        ),
        (Status("4.3.0", "unknown mail transport error", "fax", cause="fax in master.cf"), "the transport that"),
        (Status("4.3.0", "mail transport unavailable"), "master.cf has no such transport"),
        (
            Status("5.4.4", "Host or domain name not found. Name service error for name=x type=A: Host not found"),
            "DNS knows",
        ),
        (Status("4.4.1", "connect to mx[192.0.2.1]:25: Connection refused"), "the other server can't be reached"),
        (
            Status("4.4.1", "connect to mx[private/lmtp]: No such file or directory"),
            "the other server can't be reached",
        ),
    ],
)
def test_whose_words_they_are(status: Status, means: str) -> None:
    said = meaning_of(status)
    assert said is not None
    assert said.means.startswith(means)


@pytest.mark.parametrize(
    "status",
    [
        Status("5.1.1", "not here", "local", cause="forward_path"),
        Status("5.7.1", "go away", cause="transport_maps"),
        Status("5.1.1", "odd words of nobody"),
    ],
)
def test_of_what_nothing_is_known_nothing_is_said(status: Status) -> None:
    assert meaning_of(status) is None
