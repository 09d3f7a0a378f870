"""What the store has of one message, of one refusal, of all who were refused."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from postwarden.mail.envelope import Client
from postwarden.mail.status import Status
from postwarden.trace import reference
from postwarden.trace.files import Place, Writer, scan
from postwarden.trace.records import Attempted, Because, Ended, Facts, Judged, Mapped, Record, Stored
from postwarden.trace.search import MOST, Search, Wanted, refused, told

CLIENT = Client("mx.example", "192.0.2.1", 4711, "mx.example", "helo.example", "ESMTP")
FACTS = Facts(CLIENT, 2, 2, "127.0.0.1", 25, None, "a@b.example", 0, 0, "", False, None)
BECAUSE = Because("reject_unauth_destination", "", "/etc/postfix/main.cf", 7)
GONE = Judged(10.0, "s1", "smtp/inet", "RCPT", FACTS, "no@d.example", "", "reject", "554 5.7.1 no", BECAUSE,
              reference="7K3-Q9D-2MX")  # fmt: skip
LET_IN = replace(GONE, when=11.0, recipient="c@d.example", verdict="permit", reply="", reference="")
OTHER = replace(LET_IN, when=12.0, recipient="other@d.example")
WHOLE = replace(GONE, when=13.0, stage="END-OF-MESSAGE", recipient="", queue_id="Q9", recipients=("x@y.example",),
                verdict="defer", reference="")  # fmt: skip
STORED = Stored(14.0, "Q1", "s1", "a@b.example", "<m@x>", 100, (("e@f.example", "c@d.example"),))
MAPPED = Mapped(14.0, "Q1", "virtual_alias_maps", "c@d.example", ("e@f.example",), BECAUSE)
TRIED = Attempted(15.0, "Q1", "e@f.example", "", Status("2.0.0", "ok"), "smtp", "f.example")
CHILD = Stored(16.0, "Q2", "", "", "<n@x>", 50, (("a@b.example", ""),), parent="Q1")
RECORDS: list[Record] = [GONE, LET_IN, OTHER, WHOLE, STORED, MAPPED, TRIED, CHILD, Ended(17.0, "Q1"), Ended(17.0, "Q3")]


@pytest.fixture
def path(tmp_path: Path) -> str:
    store = str(tmp_path / "trace")
    for n, part in enumerate((RECORDS[:5], RECORDS[5:])):
        writer = Writer(store, f"receiver{n}", lambda: 1.7e9, print)
        for record in part:
            writer.add(record)
        writer.close()
    return store


def found(path: str, name: str) -> list[Record]:
    search = Search(name)
    search.first_pass(path)
    return [record for record, _, _ in search.second_pass(path)]


@pytest.mark.parametrize("name", ["Q1", "<m@x>", "m@x"])
def test_a_message(path: str, name: str) -> None:
    ((history,), refusals) = told(name, found(path, name))
    assert (history.queue_id, refusals, history.stored) == ("Q1", [], STORED)
    assert history.records == [LET_IN, STORED, MAPPED, TRIED, CHILD, Ended(17.0, "Q1")]


@pytest.mark.parametrize("name", ["7K3-Q9D-2MX", "7k3q9d2mx", "[ref 7K3-Q9D-2MX]"])
def test_a_refusal_by_its_reference(path: str, name: str) -> None:
    assert found(path, name) == [GONE]
    assert told(name, [GONE]) == ([], [GONE])


def test_a_refusal_by_the_queue_id_that_the_log_has(path: str) -> None:
    assert told("Q9", found(path, "Q9")) == ([], [WHOLE])


@pytest.mark.parametrize(("count", "recipients", "kept"), [(MOST + 5, 1, MOST), (30, 5000, 4), (2, 30_000, 1)])
def test_of_many_messages_with_one_id_the_newest_are_told(
    tmp_path: Path, count: int, recipients: int, kept: int
) -> None:
    """A stranger may send any number, and each user may have the courier look for them."""
    path = str(tmp_path / "trace")
    writer = Writer(path, "receiver0", lambda: 1.7e9, print)
    for n in range(count):
        addresses = tuple((f"{m}@d.example", "") for m in range(recipients))
        writer.add(replace(LET_IN, session=f"s{n}", recipient="0@d.example", when=float(n)))
        writer.add(replace(STORED, queue_id=f"Q{n}", session=f"s{n}", recipients=addresses, when=float(n)))
        writer.add(Ended(float(n), f"Q{n}"))
    writer.close()
    search = Search("<m@x>")
    search.first_pass(path)
    newest = [f"Q{n}" for n in range(count - kept, count)]
    assert list(search.stored) == newest
    records = [record for record, _, _ in search.second_pass(path)]
    histories, _ = told("<m@x>", records)
    assert [one.queue_id for one in histories] == newest
    assert all([type(record) for record in one.records] == [Judged, Stored, Ended] for one in histories)
    assert all(one.records[0].when == one.records[2].when for one in histories)


def test_a_message_of_before(path: str) -> None:
    ((history,), _) = told("Q3", found(path, "Q3"))
    assert (history.stored, history.records) == (None, [Ended(17.0, "Q3")])


@pytest.mark.parametrize("name", ["Q", "s1", "mx.example", "a@b.example", "7K3-Q9D-2MY", "reject"])
def test_a_part_of_a_record_is_no_name(path: str, name: str) -> None:
    assert told(name, found(path, name)) == ([], [])
    assert found(path, name) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), [GONE, WHOLE]), (Wanted("192.0.2.1"), [GONE, WHOLE]), (Wanted("MX.example"), [GONE, WHOLE]),
        (Wanted("192.0.2.2"), []), (Wanted(sender="<A@b.example>"), [GONE, WHOLE]), (Wanted(sender="x@b.example"), []),
        (Wanted(recipient="NO@d.example"), [GONE]), (Wanted(recipient="x@y.example"), [WHOLE]),
        (Wanted(recipient="<no@D.example>"), [GONE]), (Wanted(recipient="c@d.example"), []),
        (Wanted(since=12.5), [WHOLE]), (Wanted(since=13.5), []),
    ],
)  # fmt: skip
def test_who_was_refused(path: str, wanted: Wanted, expected: list[Judged]) -> None:
    assert [record for record, _, _ in refused(path, wanted)] == expected


def test_the_null_sender_is_not_no_sender_yet() -> None:
    null = replace(GONE, facts=replace(FACTS, sender=""))
    early = replace(GONE, facts=replace(FACTS, sender=None), stage="CONNECT")
    assert [Wanted(sender="<>").fits(one) for one in (null, early, GONE)] == [True, False, False]


def test_a_file_of_before_that_time_is_not_looked_into(path: str) -> None:
    for name in os.listdir(path):
        os.utime(os.path.join(path, name), (5.0, 5.0))
    assert list(refused(path, Wanted(since=6.0))) == []


def test_what_was_read_in_pieces_is_what_is_there(path: str) -> None:
    after: Place = ("", 0)
    pieces: list[Record] = []
    while True:
        one = next(scan(path, after=after), None)
        if one is None:
            break
        record, _, after = one
        pieces.append(record)
    assert pieces == RECORDS


@pytest.mark.parametrize("after", [("", -5), ("9", 0), ("1700000000000-receiver0.trace", 1 << 70)])
def test_a_place_that_can_not_be_ends(path: str, after: Place) -> None:
    list(scan(path, after=after))


def test_references_are_short_differ_and_can_be_told_by_telephone() -> None:
    known = {reference.new() for _ in range(2000)}
    assert len(known) == 2000
    letters = set("".join(known))
    assert letters.isdisjoint("01ILO") and len(letters) == 32  # with the dash
    assert all(reference.spelled(one) == one and len(one) == 11 for one in known)


@pytest.mark.parametrize("text", ["", "7K3-Q9D-2M", "7K3-Q9D-2MX2", "7K1-Q9D-2MX", "a@b.example", "<7K3Q9D2M@x>"])
def test_what_is_no_reference(text: str) -> None:
    assert reference.spelled(text) == ""


def test_what_became_of_forwards_is_told_with_the_message(tmp_path: Path) -> None:
    """Also of a forward of a forward; not of others, nor of more than some."""
    path = str(tmp_path / "trace")
    writer = Writer(path, "courier", lambda: 1.7e9, print)
    grandchild = replace(CHILD, queue_id="Q4", parent="Q2")
    fates = [Attempted(18.0, one, "a@b.example", "", Status("2.0.0", "ok")) for one in ("Q2", "Q4", "Q5")]
    for record in (STORED, CHILD, grandchild, *fates):
        writer.add(record)
    for n in range(100):
        writer.add(replace(CHILD, queue_id=f"MORE{n}", parent="Q2"))
    writer.close()
    records = found(path, "Q1")
    ((history,), _) = told("Q1", records)
    assert history.records == [STORED, CHILD]
    assert history.offspring[0] == CHILD
    assert set(fates[:2]) < set(history.offspring)
    assert fates[2] not in history.offspring
    assert len({record.queue_id for record in history.offspring}) == 20
    ((history,), _) = told("Q4", found(path, "Q4"))
    assert (history.records, history.offspring) == ([grandchild, fates[1]], [])


def test_the_next_page_has_the_forwards_that_the_last_one_met(path: str) -> None:
    search = Search("Q1")
    search.first_pass(path)
    place = next(place for record, _, place in search.second_pass(path) if record == CHILD)
    writer = Writer(path, "receiver9", lambda: 1.8e9, print)
    late = Attempted(20.0, "Q2", "a@b.example", "", Status("2.0.0", "ok"))
    writer.add(late)
    writer.close()
    assert late in [record for record, _, _ in search.second_pass(path, place)]
