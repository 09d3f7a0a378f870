"""The listing against lines that Postfix 3.7 printed."""

import json
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.cli import listing
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import HOLD, Listed, State
from postwarden.mail.status import Status

ARRIVAL = 1795415887.75
REFUSED = "connect to 127.0.0.1[127.0.0.1]:1: Connection refused"
FULL = (
    'host 127.0.0.1[127.0.0.1] said: 452 4.2.2 mailbox full, quoted "x" and \\ back\tTab (in reply to RCPT TO command)'
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def listed(
    queue_id: str,
    sender: str,
    recipients: dict[str, str],
    *,
    size: int = 303,
    due: float = ARRIVAL,
    held: bool = False,
    expired: bool = False,
    settled: int = 0,
) -> Listed:
    """`recipients`: address and reason; the first `settled` of them are done with."""
    envelope = Envelope(queue_id, ARRIVAL, sender, tuple(Recipient(address) for address in recipients), size)
    reasons = {n: Status("4.4.1", text) for n, text in enumerate(recipients.values()) if text and n >= settled}
    state = State(tuple(range(settled, len(recipients))), 1, reasons, expired=expired)
    return Listed((0, 1), queue_id, due, held, msgspec.msgpack.encode(envelope), msgspec.msgpack.encode(state))


def one(message: Listed) -> listing.Message:
    (found,) = listing.messages([message])
    assert isinstance(found, listing.Message)
    return found


def short(message: Listed) -> str:
    return listing.traditional(one(message), listing.SHORT)


def test_a_deferred_message() -> None:
    assert short(listed("8549F222415", "a@example.org", {"x@dead.example": REFUSED})) == (
        "8549F222415     303 Mon Nov 23 06:38:07  a@example.org\n"
        "                       (connect to 127.0.0.1[127.0.0.1]:1: Connection refused)\n"
        "                                         x@dead.example\n"
        "\n"
    )


def test_marks_stand_behind_the_id_and_move_the_size() -> None:
    def line(**more: object) -> str:
        return short(listed("8549F222415", "a@example.org", {"x@dead.example": REFUSED}, **more)).split("\n")[0]  # type: ignore[arg-type]

    assert line(held=True) == "8549F222415*     303 Mon Nov 23 06:38:07  a@example.org"
    assert line(due=HOLD) == "8549F222415!     303 Mon Nov 23 06:38:07  a@example.org"
    assert line(due=HOLD, expired=True) == "8549F222415!#     303 Mon Nov 23 06:38:07  a@example.org"
    assert line(expired=True, size=8000453) == "8549F222415# 8000453 Mon Nov 23 06:38:07  a@example.org"
    assert line(due=0.0) == "8549F222415     303 Mon Nov 23 06:38:07  a@example.org"


def test_a_reason_is_said_once_for_those_who_share_it_and_those_without_come_last() -> None:
    recipients = {
        "new@s.example": "",
        "x@dead.example": REFUSED,
        "z@dead.example": REFUSED,
        "later1@later.example": FULL,
    }
    lines = short(listed("01BB9222445", "", recipients, size=287)).split("\n")
    assert lines == [
        "01BB9222445     287 Mon Nov 23 06:38:07  MAILER-DAEMON",
        "                       (connect to 127.0.0.1[127.0.0.1]:1: Connection refused)",
        "                                         x@dead.example",
        "                                         z@dead.example",
        f"({FULL})".replace("\t", "?"),
        "                                         later1@later.example",
        "                                                          (reason unavailable)",
        "                                         new@s.example",
        "",
        "",
    ]


def test_recipients_without_any_reason_have_none_to_miss() -> None:
    lines = short(listed("9623F222449", "i@example.org", {"a@sink.example": "", "b@dead.example": ""})).split("\n")
    assert lines[1:] == [" " * 41 + "a@sink.example", " " * 41 + "b@dead.example", "", ""]


def test_only_open_recipients_are_shown() -> None:
    text = short(listed("9623F222449", "i@example.org", {"done@x.example": "", "b@dead.example": ""}, settled=1))
    assert "done@" not in text and "b@dead.example" in text


def test_long_queue_ids_have_other_columns() -> None:
    message = listed("4jXx9B0KMhzJrL1", "s@example.org", {"multi2@dead.example": REFUSED}, size=275, held=True)
    assert listing.LONG.header + listing.traditional(one(message), listing.LONG) == (
        "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
        "4jXx9B0KMhzJrL1*       275 Mon Nov 23 06:38:07 s@example.org\n"
        "                       (connect to 127.0.0.1[127.0.0.1]:1: Connection refused)\n"
        "                                               multi2@dead.example\n"
        "\n"
    )


def test_addresses_are_quoted_where_they_must_be_and_nothing_breaks_a_line() -> None:
    recipients = {'x " y@dead.example': "", "ev\nil@dead.example": "a\nb"}
    text = short(listed("6FFA8222427", "a b@example.org", recipients))
    assert '"a b"@example.org\n' in text and '"x \\" y"@dead.example\n' in text
    assert '"ev?il"@dead.example\n' in text and "(a?b)\n" in text


def test_the_last_line_counts() -> None:
    assert listing.footer(0, 0) == "Mail queue is empty\n"
    assert listing.footer(1, 1500) == "-- 1 Kbytes in 1 Request.\n"
    assert listing.footer(2, 2047) == "-- 1 Kbytes in 2 Requests.\n"


def test_json_as_postqueue_has_it() -> None:
    recipients = {"b@dead.example": REFUSED, "a@sink.example": ""}
    assert listing.json(one(listed("01BB9222445", "active@example.org", recipients, size=287, held=True))) == (
        '{"queue_name": "active", "queue_id": "01BB9222445", "arrival_time": 1795415887, "message_size": 287, '
        '"forced_expire": false, "sender": "active@example.org", "recipients": [{"address": "b@dead.example", '
        '"delay_reason": "connect to 127.0.0.1[127.0.0.1]:1: Connection refused"}, {"address": "a@sink.example"}]}\n'
    )


def test_json_says_in_which_queue_and_quotes() -> None:
    text = listing.json(
        one(listed("2464022242F", "päul@exämple.org", {'x " y@dead.example': FULL}, due=HOLD, expired=True))
    )
    assert '"queue_name": "hold"' in text and '"forced_expire": true' in text and "päul@exämple.org" in text
    value = json.loads(text)
    assert value["recipients"][0]["address"] == '"x \\" y"@dead.example'
    assert value["recipients"][0]["delay_reason"].startswith(
        'host 127.0.0.1[127.0.0.1] said: 452 4.2.2 mailbox full, quoted "x"'
    )


@given(st.text(), st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, max_size=4))
def test_no_text_breaks_the_form(sender: str, recipients: list[tuple[str, str]]) -> None:
    message = listed("2464022242F", sender.encode(errors="replace").decode(), dict(recipients))
    line = listing.json(one(message))
    assert line.count("\n") == 1 and json.loads(line)["queue_id"] == "2464022242F"
    lines = short(message).split("\n")
    assert lines[-2:] == ["", ""] and all(lines[:-2])


def test_a_damaged_record_is_named_and_the_next_is_listed() -> None:
    good = listed("2464022242F", "a@example.org", {"b@example.org": ""})
    bad = msgspec.structs.replace(good, queue_id="BAD", raw_envelope=b"\xc1")
    strange = msgspec.structs.replace(good, queue_id="ODD", raw_state=msgspec.msgpack.encode(State((7,))))
    found = list(listing.messages([bad, strange, good]))
    assert [type(one) for one in found] == [listing.Unreadable, listing.Unreadable, listing.Message]
    assert [one.queue_id for one in found[:2]] == ["BAD", "ODD"]  # type: ignore[union-attr]
