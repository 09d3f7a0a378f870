"""Mail in maildrop, as mailq lists it and postsuper -d removes it."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postwarden.cli import listing, postcat
from postwarden.cli.dropped import WithMaildrop, waiting
from postwarden.cli.listing import Message, Unreadable
from postwarden.config.settings import Settings, load
from postwarden.ipc.queue_records import DELETE, HOLD
from postwarden.mail.envelope import Recipient
from postwarden.spool.maildrop import Maildrop, drop, maildrop_directory, make_maildrop
from postwarden.wire.submission import Submission, opening, whole

MAIL = Submission("me@example.org", (Recipient("x@dead.example"), Recipient("y z@dead.example")))


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\n")
    (tmp_path / "postwarden").mkdir()
    make_maildrop(maildrop_directory(str(tmp_path)))
    return load(tmp_path)


def dropped(configured: Settings, data: Iterable[bytes]) -> str:
    return drop(maildrop_directory(configured.text("queue_directory")), data)


class Nothing:
    """A queue without mail that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str] | None, tuple[str, ...]]] = []

    def act(self, operation: str, queue_ids: Iterable[str], queues: Sequence[str] = ()) -> Iterator[str]:
        self.asked.append((operation, list(queue_ids), tuple(queues)))
        return iter(())

    def act_on_all(self, operation: str, queues: Sequence[str] = ()) -> Iterator[str]:
        self.asked.append((operation, None, tuple(queues)))
        return iter(())


def test_it_is_listed_without_a_mark(configured: Settings) -> None:
    name = dropped(configured, whole(MAIL, [b"Subject: x\n\nbody\n" * 9000]))
    (found,) = waiting(configured)
    assert isinstance(found, Message)
    text = listing.traditional(found, listing.SHORT)
    assert text.startswith(f"{name[-10:]}  ") and text.split("\n")[0].endswith("  me@example.org")
    assert text.split("\n")[1:3] == [" " * 41 + "x@dead.example", " " * 41 + '"y z"@dead.example']
    assert '"queue_name": "maildrop"' in listing.json(found)


@pytest.mark.parametrize("columns", [listing.SHORT, listing.LONG])
def test_what_is_listed_fits_its_column_and_names_the_file(
    configured: Settings, columns: listing.Columns, capfd: pytest.CaptureFixture[str]
) -> None:
    name, other = (dropped(configured, whole(MAIL, [b"\n"])) for _ in range(2))
    found = [one for one in waiting(configured) if isinstance(one, Message)]
    texts = {one.envelope.queue_id: listing.traditional(one, columns) for one in found}
    typed = texts[name].split()[0]
    for one in found:
        left, right = (one.envelope.queue_id[-len(typed) :], str(one.envelope.size))
        head = f"{left:<{columns.queue_id}} {right:>{columns.size}} {listing.moment(one.envelope.arrival)}"
        assert texts[one.envelope.queue_id].startswith(head)
    assert postcat.main("postcat", ["-c", configured.config_directory, "-q", typed]) == 0
    assert f"maildrop/{typed}" in capfd.readouterr().out
    queue = Nothing()
    assert list(WithMaildrop(queue, configured).act(DELETE, [typed, "0" * 10])) == [typed]
    assert queue.asked == [(DELETE, ["0" * 10], ())]
    assert [one.envelope.queue_id for one in waiting(configured) if isinstance(one, Message)] == [other]


def test_an_end_of_two_names_is_none(configured: Settings) -> None:
    directory = maildrop_directory(configured.text("queue_directory"))
    name = dropped(configured, whole(MAIL, [b"\n"]))
    os.rename(os.path.join(directory, dropped(configured, whole(MAIL, [b"\n"]))), f"{directory}/{'0' * 22}{name[-10:]}")
    both = WithMaildrop(Nothing(), configured)
    assert list(both.act(DELETE, [name[-10:]])) == []
    assert list(both.act(DELETE, [name[-16:]])) == [name[-16:]]


def test_postcat_shows_it(configured: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    name = dropped(configured, whole(MAIL, [b"Subject: x\r", b"\n\nbody\n", b"end"]))
    where = f"maildrop/{name}"
    words = ["-c", configured.config_directory, "-q"]
    assert postcat.main("postcat", [*words, name]) == 0
    said = capfd.readouterr().out
    assert "\nsender: me@example.org\n" in said
    assert "\nrecipient: x@dead.example\n" in said and "\nrecipient: y z@dead.example\n" in said
    assert f"*** MESSAGE CONTENTS {where} ***\nSubject: x\n\nbody\nend\n*** HEADER EXTRACTED {where} ***\n" in said
    assert postcat.main("postcat", [*words, dropped(configured, [b"junk"])]) == 1
    assert "not a submission" in capfd.readouterr().err
    assert postcat.main("postcat", [*words, "0" * 32]) == 1
    assert "No such file or directory" in capfd.readouterr().err


def test_what_is_no_mail_is_named(configured: Settings) -> None:
    names = {dropped(configured, [data]) for data in (b"", b"junk", opening(MAIL)[:-1])}
    assert {found.queue_id for found in waiting(configured) if isinstance(found, Unreadable)} == names


def test_files_that_are_none_are_left_alone(configured: Settings) -> None:
    directory = Path(maildrop_directory(configured.text("queue_directory")))
    (directory / "a" / "b").mkdir(parents=True)
    os.symlink("/etc/passwd", directory / ("0" * 32))
    (directory / ("1" * 32)).write_bytes(opening(MAIL))
    assert list(waiting(configured)) == []
    assert list(WithMaildrop(Nothing(), configured).act_on_all(DELETE)) == []
    assert (directory / ("1" * 32)).exists()


def test_no_maildrop(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}/none\n")
    assert list(waiting(load(tmp_path))) == []
    assert list(WithMaildrop(Nothing(), load(tmp_path)).act_on_all(DELETE)) == []


def test_it_can_be_deleted_and_nothing_else(configured: Settings) -> None:
    first, second = (dropped(configured, whole(MAIL, [b"\n"])) for _ in range(2))
    queue = Nothing()
    both = WithMaildrop(queue, configured)
    assert list(both.act(HOLD, [first])) == list(both.act(DELETE, [first], ["hold"])) == []
    assert list(both.act(DELETE, [first, "ABC"])) == [first]
    assert list(both.act_on_all(HOLD)) == list(both.act_on_all(DELETE, ["deferred"])) == []
    assert [found.envelope.queue_id for found in waiting(configured) if isinstance(found, Message)] == [second]
    assert list(both.act_on_all(DELETE, ["maildrop"])) == [second]
    assert queue.asked == [
        (HOLD, [first], ()),
        (DELETE, [first], ("hold",)),
        (DELETE, ["ABC"], ()),
        (HOLD, None, ()),
        (DELETE, None, ("deferred",)),
    ]


def test_what_is_taken_up_meanwhile_is_not_said_to_be_deleted(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the queue is worked on all the same."""
    name = dropped(configured, whole(MAIL, [b"\n"]))
    remove = Maildrop.remove

    def late(self: Maildrop, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            remove(self, name)
        remove(self, name)

    monkeypatch.setattr(Maildrop, "remove", late)
    queue = Nothing()
    both = WithMaildrop(queue, configured)
    assert list(both.act(DELETE, [name])) == []
    dropped(configured, whole(MAIL, [b"\n"]))
    assert list(both.act_on_all(DELETE)) == []
    assert queue.asked == [(DELETE, [name], ()), (DELETE, None, ())]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_bytes_break_the_listing(configured: Settings, data: bytes, keep: int) -> None:
    name = dropped(configured, [opening(MAIL)[:keep] + data])
    try:
        assert [type(found) in (Message, Unreadable) for found in waiting(configured)] == [True]
    finally:
        os.unlink(os.path.join(maildrop_directory(configured.text("queue_directory")), name))
