from pathlib import Path

import pytest
from msgspec.structs import replace

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.view import view
from postwarden.content.prepare import Prepared, Preparer
from postwarden.mail.envelope import Client, Envelope, Notify, Recipient
from postwarden.mail.events import Event
from postwarden.mail.reply import Reply
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

STRANGER, DESK = Client("mail.far.example", "198.51.100.7"), Client("mx.example.com", "192.0.2.1")
ENVELOPE = Envelope("4F1B2", 1.7e9, "s@far.example", (Recipient("joe@mx.example.com"),), 0, client=STRANGER)
FULL = b"Received: x\r\nFrom: a@b.example\r\nTo: c@d.example\r\nDate: today\r\nMessage-ID: <x@y>\r\n\r\n"


class Addressing:
    def __init__(self, **parameters: str) -> None:
        chosen = settings(**parameters)
        self.rewrite = Rewriter(view(RewriteParams, chosen)).rewrite
        self.by_name_alone = open_resolver(chosen, Tables.of(chosen)).by_name_alone


class Cleanup:
    def __init__(self, **parameters: str) -> None:
        chosen = settings(**parameters)
        self._events: list[Event] = []
        self._prepare = Preparer(chosen, "", Tables.of(chosen), Addressing(**parameters), self._events.append)
        self.refresh = self._prepare.refresh

    @property
    def said(self) -> list[str]:
        return list(map(str, self._events))

    def reply(self, head: bytes = FULL, **changes: object) -> Reply:
        found = self._prepare(replace(ENVELOPE, **changes), head)
        assert isinstance(found, Reply)
        return found

    def stored(self, head: bytes = FULL, **changes: object) -> Prepared:
        found = self._prepare(replace(ENVELOPE, **changes), head)
        assert isinstance(found, Prepared), found
        return found


def test_a_head_that_needs_nothing_is_the_same_object() -> None:
    for client in (STRANGER, DESK, None):
        assert Cleanup().stored(client=client).head is FULL


def test_the_message_id_is_logged_and_kept() -> None:
    cleanup = Cleanup()
    assert cleanup.stored().envelope.message_id == "<x@y>"
    assert cleanup.said == ["4F1B2: message-id=<x@y>"]


def test_headers_of_our_own_users_are_mended() -> None:
    cleanup = Cleanup()
    found = cleanup.stored(b"Received: x\r\nTo: joe\r\n\r\n", client=DESK)
    made = "<20231114221320.4F1B2@mx.example.com>"
    assert found.head.startswith(
        b"Received: x\r\nTo: joe@mx.example.com\r\nMessage-Id: " + made.encode() + b"\r\nDate: "
    )
    assert found.head.endswith(b"\r\nFrom: s@far.example\r\n\r\n")
    assert found.envelope.message_id == made
    assert cleanup.said == [f"4F1B2: message-id={made}"]


def test_reports_name_what_people_of_this_machine_meant() -> None:
    """As Debian's 3.7.11 stores it: the canonical form before virtual aliases; by SMTP, what the client said."""
    given = (Recipient("joe"), Recipient("typed"), Recipient("x@far.example"), Recipient("a", "", "rfc822;b", 4))
    cleanup = Cleanup(recipient_canonical_maps="inline:{typed=full@far.example}", virtual_alias_maps="inline:{joe=ann}")
    stored = cleanup.stored(recipients=given, client=None).envelope.recipients
    assert stored == (
        Recipient("ann@mx.example.com", "joe", "rfc822;joe@mx.example.com"),
        Recipient("full@far.example", "typed", "rfc822;full@far.example"),
        Recipient("x@far.example"),
        Recipient("a@mx.example.com", "a", "rfc822;b", 4),
    )
    stored = cleanup.stored(recipients=given[:1]).envelope.recipients
    assert stored == (Recipient("ann@mx.example.com", "joe"),)
    stored = Cleanup().stored(recipients=given[:1], client=None).envelope.recipients
    assert stored == (Recipient("joe@mx.example.com", "joe", "rfc822;joe@mx.example.com"),)
    assert Cleanup().stored(recipients=stored, client=None).envelope.recipients == stored


def test_a_strangers_headers_are_not() -> None:
    cleanup = Cleanup()
    head = b"Received: x\r\nTo: joe\r\n\r\n"
    assert cleanup.stored(head).head is head
    assert cleanup.said == ["4F1B2: message-id=<>"]
    assert b"\r\nFrom: s@far.example\r\n" in Cleanup(always_add_missing_headers="yes").stored(head).head


def test_what_must_not_travel_is_taken_out() -> None:
    head = FULL[:-2] + b"BCC : secret@example.com,\r\n other@example.com\r\nReturn-path: <x>\r\nSubject: s\r\n\r\n"
    assert Cleanup().stored(head).head == FULL[:-2] + b"Subject: s\r\n\r\n"


def test_a_mail_loop_ends() -> None:
    assert str(Cleanup().reply(b"Received: x\r\n" * 49 + FULL)) == "554 5.4.0 Error: too many hops"
    Cleanup().stored(b"Received: x\r\n" * 48 + FULL)


def test_a_long_field_is_cut() -> None:
    head = FULL[:-2] + b"X: " + b"a" * 200 + b"\r\n\r\n"
    assert b"\r\nX: " + b"a" * 97 + b"\r\n" in Cleanup(header_size_limit="100").stored(head).head


def test_aliases_keep_what_the_client_said() -> None:
    cleanup = Cleanup(virtual_alias_maps="inline:{ {joe@mx.example.com=ann@far.example, bob} }")
    recipients = (Recipient("joe@mx.example.com", "", "rfc822;joe", int(Notify.SUCCESS | Notify.FAILURE)),)
    assert cleanup.stored(recipients=recipients).envelope.recipients == (
        Recipient("ann@far.example", "joe@mx.example.com", "rfc822;joe", int(Notify.FAILURE)),
        Recipient("bob@mx.example.com", "joe@mx.example.com", "rfc822;joe", int(Notify.FAILURE)),
    )


@pytest.mark.parametrize(
    ("notify", "left", "told"),
    [
        (0, 0, False),
        (Notify.NEVER, Notify.NEVER, False),
        (Notify.SUCCESS, Notify.NEVER, True),
        (Notify.SUCCESS | Notify.DELAY, Notify.DELAY, True),
        (Notify.FAILURE, Notify.FAILURE, False),
    ],
)
@pytest.mark.parametrize("targets", ["ann@far.example", "ann@far.example, bob@far.example"])
def test_of_success_the_sender_hears_that_an_alias_was_expanded(
    targets: str, notify: int, left: int, told: bool
) -> None:
    cleanup = Cleanup(virtual_alias_maps=f"inline:{{ {{joe@mx.example.com={targets}}} }}")
    given = Recipient("joe", "", "rfc822;joe", int(notify))
    envelope = cleanup.stored(recipients=(given,)).envelope
    assert {one.notify for one in envelope.recipients} == {int(left)}
    assert envelope.expanded == ((Recipient("joe@mx.example.com", "joe", "rfc822;joe", int(notify)),) if told else ())


def test_an_alias_of_itself_is_no_alias() -> None:
    cleanup = Cleanup(virtual_alias_maps="inline:{joe@mx.example.com=joe@mx.example.com}")
    given = Recipient("joe@mx.example.com", notify=int(Notify.SUCCESS))
    envelope = cleanup.stored(recipients=(given,)).envelope
    assert (envelope.recipients, envelope.expanded) == ((given,), ())


def test_the_same_recipient_twice_gets_one_copy() -> None:
    twice = (Recipient("joe@far.example"), Recipient("JOE@far.example"), Recipient("joe@far.example", notify=1))
    assert Cleanup().stored(recipients=twice).envelope.recipients == (twice[0], twice[2])


def test_copies_report_to_nobody() -> None:
    found = Cleanup(always_bcc="archive").stored().envelope.recipients
    assert found[1] == Recipient("archive@mx.example.com", notify=int(Notify.NEVER))


def test_short_addresses_are_completed() -> None:
    found = Cleanup().stored(sender="ann", recipients=(Recipient("joe"),)).envelope
    assert found.sender == "ann@mx.example.com"
    assert found.recipients == (Recipient("joe@mx.example.com", "joe"),)
    assert Cleanup(canonical_maps="inline:{x=y}").stored(sender="").envelope.sender == ""


@pytest.mark.parametrize(
    "parameter",
    ["virtual_alias_maps", "canonical_maps", "sender_bcc_maps", "recipient_bcc_maps", "sender_canonical_maps"],
)
def test_a_table_that_cannot_answer_puts_the_message_off(parameter: str, tmp_path: Path) -> None:
    cleanup = Cleanup(**{parameter: f"texthash:{tmp_path}/missing"})
    assert str(cleanup.reply()) == "451 4.3.0 Error: queue file write error"
    assert "missing" in cleanup.said[-1]


def test_an_alias_without_end_puts_the_message_off() -> None:
    aliases = "inline:{ {a@far.example=b@far.example} {b@far.example=a@far.example} }"
    cleanup = Cleanup(virtual_alias_maps=aliases)
    assert str(cleanup.reply(recipients=(Recipient("a@far.example"),))) == "451 4.6.0 Alias expansion error"
    assert "unreasonable virtual_alias_maps map nesting" in cleanup.said[-1]


def test_recipients_times_members_have_a_limit() -> None:
    members = " ".join(f"m{n}@far.example" for n in range(30))
    aliases = f"inline:{{ {{a@far.example={members}}} }}"
    cleanup = Cleanup(virtual_alias_maps=aliases, postwarden_recipient_expansion_limit="32")
    others = tuple(Recipient(f"x{n}@far.example") for n in range(3))
    assert len(cleanup.stored(recipients=(Recipient("a@far.example"), *others[:2])).envelope.recipients) == 32
    assert str(cleanup.reply(recipients=(Recipient("a@far.example"), *others))) == "451 4.6.0 Alias expansion error"
    assert "unreasonable number of recipients" in cleanup.said[-1]


def test_recipients_have_a_limit_of_bytes_even_if_they_are_all_the_same(tmp_path: Path) -> None:
    member = "m" * 900 + "@far.example"
    (tmp_path / "virtual").write_text(f"a@far.example {' '.join([member] * 900)}\n")
    cleanup = Cleanup(virtual_alias_maps=f"texthash:{tmp_path}/virtual")
    many = tuple(Recipient("a@far.example", f"o{n}@far.example") for n in range(40))
    assert str(cleanup.reply(recipients=many)) == "451 4.6.0 Alias expansion error"


def test_files_in_lists_are_read_again(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("root\n")
    cleanup = Cleanup(masquerade_domains="example.com", masquerade_exceptions=str(names))
    assert cleanup.stored(sender="joe@mx.example.com").envelope.sender == "joe@example.com"
    names.write_text("root joe\n")
    cleanup.refresh()
    assert cleanup.stored(sender="joe@mx.example.com").envelope.sender == "joe@mx.example.com"
