"""`postwarden queue` on a queue in memory."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.test_listing import REFUSED, listed

from postwarden.cli import queue, queue_tables, shape
from postwarden.cli.listing import Message, Unreadable, messages
from postwarden.cli.postqueue import Listing
from postwarden.cli.shape import Count, Oldest, Summary
from postwarden.ipc.queue_records import DestinationFigures, Figures
from postwarden.mail.queue import HOLD, Listed
from postwarden.mail.status import Status

Captured = pytest.CaptureFixture[str]
MINUTE = 60.0
NOW = 1795415887.75
"""The arrival of what `listed` makes."""
LONG = (
    "host very-long-name-of-a-mail-exchanger.example.net[192.0.2.33] said: 451 4.7.1 <someone@example.net>: try later"
)


def decoded(*found: Listed) -> list[Message]:
    made = list(messages(found))
    assert not any(isinstance(one, Unreadable) for one in made)
    return [one for one in made if isinstance(one, Message)]


def count(name: str, age: float, *found: Listed) -> Count:
    made = Count(shape.KEYS_OF[name], NOW + age)
    for message in decoded(*found):
        made.add(message)
    return made


MAIL = (
    listed(
        "A1", "a@x.example", {"u@one.example": REFUSED, "v@one.example": REFUSED, "w@Two.example": ""}, due=NOW + 600
    ),
    listed("A2", "", {"u@one.example": LONG.replace("someone", "other")}, due=NOW + 60, size=5000),
    listed("A3", "b@x.example", {"u@one.example": LONG}, due=HOLD),
    listed("A4", "b@y.example", {"local": ""}, due=0.0),
)


def test_destinations_count_recipients_and_senders_count_messages() -> None:
    made = count("destination", 0, *MAIL)
    assert [(one.key, one.count) for one in made.largest(0)] == [
        ("one.example", 4),
        ("(no domain)", 1),
        ("two.example", 1),
    ]
    assert made.total.count == 6 and [one.key for one in made.largest(1)] == ["one.example"]
    made = count("sender", 0, *MAIL)
    assert [(one.key, one.count) for one in made.largest(0)] == [
        ("x.example", 2),
        ("MAILER-DAEMON", 1),
        ("y.example", 1),
    ]


def test_reasons_that_differ_in_the_recipient_only_are_one() -> None:
    made = count("reason", 0, *MAIL)
    assert {one.key: one.count for one in made.largest(0)} == {
        REFUSED: 2,
        "not tried yet": 2,
        LONG.replace("<someone@example.net>", "<...>"): 2,
    }


def test_a_suspended_destination_has_the_reason_of_its_suspension() -> None:
    made = count("reason", 0, listed("A", "a@b", {"c@d": f"delivery temporarily suspended: {REFUSED}", "e@d": REFUSED}))
    assert [(one.key, one.count) for one in made.largest(0)] == [(REFUSED, 2)]


@pytest.mark.parametrize(
    ("age", "bucket"),
    [(-5, 0), (0, 0), (4.9, 0), (5, 1), (9.9, 1), (10, 2), (639, 7), (1279, 8), (1280, 9), (99999, 9)],
)
def test_ages_are_those_of_qshape(age: float, bucket: int) -> None:
    made = count("age", age * MINUTE, MAIL[0])
    (group,) = made.largest(0)
    assert group.key == "deferred" and [n for n, number in enumerate(group.ages) if number] == [bucket]
    assert len(shape.BUCKETS) == len(group.ages) == 10 and shape.BUCKETS[-1] == "1280+"


def test_the_next_attempt_is_the_earliest_of_a_destination() -> None:
    made = count("next", 0, *MAIL)
    assert [(one.key, one.next - NOW) for one in made.soonest(0)] == [("one.example", 60.0), ("two.example", 600.0)]
    assert made.soonest(1)[0].reason.startswith("host very-long")


def test_the_reason_is_one_of_that_destination() -> None:
    made = count("next", 0, listed("A", "a@b", {"c@d": REFUSED, "e@f": "another"}))
    assert {one.key: one.reason for one in made.soonest(0)} == {"d": REFUSED, "f": "another"}


def test_memory_does_not_grow_with_the_words_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "KEYS", 10)
    made = count("reason", 0, *[listed(f"A{n}", "a@b", {"c@d": f"reason {n}"}) for n in range(100)])
    assert len(made.groups) == 11 and made.groups[shape.OTHERS].count == 90 and made.total.count == 100


def test_the_oldest_come_first_and_are_few() -> None:
    oldest = Oldest(3)
    for n, message in enumerate(decoded(*[listed(f"A{n}", "a@b", {"c@d": ""}) for n in range(50)])):
        arrival = NOW - (n * 7 % 50)
        oldest.add(Message(message.queue, _arrived(message, arrival), message.state, message.due))
    ages = [NOW - message.envelope.arrival for message in oldest.messages()]
    assert ages == [49, 48, 47]


def _arrived(message: Message, arrival: float):  # type: ignore[no-untyped-def]
    from msgspec.structs import replace

    return replace(message.envelope, arrival=arrival)


def test_summary() -> None:
    summary = Summary()
    for message in decoded(*MAIL):
        summary.add(message)
    assert summary.messages == 4 and summary.recipients == 6 and summary.size == 5909
    assert summary.queues == {"deferred": 2, "hold": 1, "incoming": 1}


# words


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9999, "9999"),
        (10_000, "10k"),
        (999_999, "999k"),
        (1_000_000, "1.0M"),
        (9_960_000, "10.0M"),
        (12_345_678, "12M"),
    ],
)
def test_amounts_are_short(number: int, text: str) -> None:
    assert queue_tables.amount(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (59, "59s"), (60, "1m"), (12_000, "3h20m"), (360_000, "4d4h"), (8_640_000, "100d")],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert queue_tables.span(seconds) == text


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\nmaillog_file = {tmp_path}/log\n")
    state: dict[str, object] = {"mail": MAIL, "figures": FIGURES}

    @contextlib.contextmanager
    def listing(*_: object) -> Iterator[Listing]:
        yield Listing(iter(decoded(*state["mail"])), False)  # type: ignore[misc]

    monkeypatch.setattr(queue, "listed", listing)
    monkeypatch.setattr(queue, "_figures", lambda settings: state["figures"])
    monkeypatch.setattr(time, "time", lambda: NOW + 400)

    def run(*words: str, **more: object) -> int:
        state.update(more)
        return queue.main("queue", [str(tmp_path), *words])

    return run


FIGURES = Figures(
    NOW + 400, 3, 12, 5, NOW + 500,
    (
        DestinationFigures("smtp", "one.example", 12, 0, 0, NOW + 440, 0.0, Status("4.4.1", REFUSED)),
        DestinationFigures("relay", "[192.0.2.1]:25", 0, 5, 20),
        DestinationFigures("slow", "z.example", 2, 0, 1, 0.0, NOW + 401),
    ),
)  # fmt: skip


@pytest.mark.parametrize("words", [[], *[[view] for view in queue.VIEWS], ["destination", "hold"], ["next", "-n", "1"]])
def test_every_view_fits_a_terminal_of_80_columns(command, words: list[str], capsys: Captured) -> None:  # type: ignore[no-untyped-def]
    assert command(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines and max(map(len, lines)) <= 80


def test_the_overview(command, capsys: Captured) -> None:  # type: ignore[no-untyped-def]
    assert command() == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "4 messages for 6 recipients, 5.8 KB; the oldest came 6m ago\n1 incoming, 0 active, 2 deferred, 1 on hold\n"
    )
    assert "one.example                 4" in text and "TOTAL" in text
    assert "suspended until" in text and "12 waiting" in text and "connect to 127.0.0.1[127.0.0.1]:1" in text


def test_down_and_empty(command, capsys: Captured) -> None:  # type: ignore[no-untyped-def]
    assert command("next", figures=None) == 0
    assert capsys.readouterr().out.endswith("\nThe mail system is down: nothing is tried.\n")
    assert command("oldest", mail=()) == 0
    assert capsys.readouterr().out == "Mail queue is empty\n"


@pytest.mark.parametrize("view", ["", *queue.VIEWS])
def test_json_has_an_object_a_line(command, view: str, capsys: Captured) -> None:  # type: ignore[no-untyped-def]
    assert command("-j", *([view] if view else [])) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert values and all(isinstance(value, dict) for value in values)
    if view == "destination":
        assert values[0]["destination"] == "one.example" and values[0]["recipients"] == 4
        assert values[0]["age_minutes"]["10"] == 4
    if view == "oldest":
        assert values[0]["recipients"][0] == {"address": "u@one.example", "delay_reason": REFUSED}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-x"], "invalid option -- 'x'"),
        (["-n"], "option requires an argument -- 'n'"),
        (["-n", "x"], "-n x: a number of rows is needed"),
        (["nonsense"], "nonsense: no such view or queue"),
        (["age", "bounce"], "bounce: no such view or queue"),
    ],
)
def test_misuse_is_told_with_the_usage(command, words: list[str], said: str, capsys: Captured) -> None:  # type: ignore[no-untyped-def]
    assert command(*words) == 1
    out, err = capsys.readouterr()
    assert out == "" and err == f"postwarden: fatal: {said}\n{queue.USAGE}"


def test_a_configuration_at_fault(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "main.cf").write_text("bogus\n")
    assert queue.main("queue", [str(tmp_path)]) == 1
    assert f"{tmp_path}/main.cf:1" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_no_fault(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert queue.main("queue", ["/nonexistent", word]) == 0
    assert capsys.readouterr() == (queue.USAGE, "")
