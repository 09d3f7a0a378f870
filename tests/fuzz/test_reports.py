"""Reports of messages, recipients and replies that mean harm: whatever they hold, a report keeps its form."""

import email
import email.policy

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.bounce.opening import open_reports
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import Content
from postwarden.mail.round import Kind, Report
from postwarden.mail.status import Part, Status
from postwarden.testing.config import settings as config

NOW = 1795407160.0
REPORTS = open_reports(config(enable_threaded_bounces="yes"), lambda: NOW, lambda text: None)
EVIL = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["\r\n", "\n", "\r", "\0", " ", "<", ">", '"', "\\", "@x", "Bcc: v@x", "--ID.1795407160/mx.example.com",
             "--", ";", "+0D+0A", "+00", "\u2028", "\x85", "ü", "a" * 100, "\udcff", ":"]
        ),
        max_size=8,
    ).map("".join),
)  # fmt: skip
RECIPIENTS = st.builds(Recipient, EVIL, EVIL, st.one_of(st.just(""), EVIL.map("rfc822;{}".format), EVIL))
CODES = st.sampled_from(["2.0.0", "4.4.1", "5.1.1"])
STATUSES = st.builds(
    Status, CODES, EVIL, EVIL, EVIL, EVIL, st.sampled_from(["", "relayed", "expanded"]), EVIL, st.booleans(),
    st.booleans(), st.lists(st.builds(Part, EVIL, EVIL, CODES, EVIL), max_size=2).map(tuple),
)  # fmt: skip
FIELDS = {"received", "date", "from", "subject", "to", "references", "in-reply-to", "auto-submitted", "mime-version",
          "content-type", "content-transfer-encoding", "message-id"}  # fmt: skip
HEAD = b"From: a\r\nSubject: hi\r\n\r\n"


@settings(max_examples=rounds(200), deadline=None)
@given(
    st.sampled_from(Kind),
    st.lists(st.tuples(RECIPIENTS, STATUSES), min_size=1, max_size=3),
    EVIL,
    st.builds(dict, sender=EVIL, envid=EVIL, message_id=EVIL, smtputf8=st.booleans()),
    st.booleans(),
)
def test_its_form_is_its_own(
    kind: Kind, named: list[tuple[Recipient, Status]], to: str, more: dict[str, object], postmaster: bool
) -> None:
    recipients = tuple(recipient for recipient, _ in named)
    envelope = Envelope("ID", NOW, str(more.pop("sender")), recipients, 30, **more)  # type: ignore[arg-type]
    outcomes = tuple((index, status) for index, (_, status) in enumerate(named))
    report = Report(kind, to, outcomes, "", postmaster=postmaster, whole=True)
    made = REPORTS.compose(report, envelope, Content(HEAD, b"body\r\n"), "NEW")
    whole = made.head + made.body
    assert b"\r" not in whole.replace(b"\r\n", b"")
    assert b"\n" not in whole.replace(b"\r\n", b"")
    assert b"\0" not in whole
    names = [
        line.partition(b":")[0].decode().lower() for line in made.head.split(b"\r\n") if line[:1] not in (b"\t", b"")
    ]
    assert set(names) <= FIELDS
    assert len(names) == len(set(names))
    lines = made.body.split(b"\r\n")
    assert lines.count(b"--ID.1795407160/mx.example.com") == 3
    assert lines.count(b"--ID.1795407160/mx.example.com--") == 1
    parsed = email.message_from_bytes(whole, policy=email.policy.compat32)
    assert parsed.get_content_type() == "multipart/report"
    assert len(parsed.get_payload()) == 3
    fields = [
        line.partition(b":")[0]
        for line in made.body.split(b"Delivery report\r\n")[1].split(b"\r\n--ID")[0].split(b"\r\n")
    ]
    assert {field for field in fields if field[:1] not in (b" ", b"")} <= {
        b"Content-Type", b"Content-Transfer-Encoding", b"Reporting-MTA", b"Original-Envelope-Id", b"X-Postfix-Queue-ID",
        b"X-Postfix-Sender", b"Arrival-Date", b"Final-Recipient", b"Original-Recipient", b"Action", b"Status",
        b"Remote-MTA", b"Diagnostic-Code", b"Will-Retry-Until",
    }  # fmt: skip
