import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from postwarden.mail.decision import Fact
from postwarden.mail.envelope import Client
from postwarden.mail.session import TlsFacts
from postwarden.mail.status import Part, Status
from postwarden.trace import files
from postwarden.trace.files import Writer, read, sweep
from postwarden.trace.records import Attempted, Because, Ended, Facts, Judged, Mapped, Record, Stored

CLIENT = Client("mx.example", "192.0.2.1", 4711, "mx.example", "helo.example", "ESMTP")
FACTS = Facts(CLIENT, 2, 2, "127.0.0.1", 25, TlsFacts("TLSv1.3", "AES", 256), "a@b.example", 0, 0, "", False, None)
BECAUSE = Because("reject_unauth_destination", "", "/etc/postfix/main.cf", 7)
RECORDS: list[Record] = [
    Judged(1.5, "s1", "smtp/inet", "RCPT", FACTS, "c@d.example", "", "reject", "554 5.7.1 no", BECAUSE,
           (Fact("recipient", "c@d.example", "none"),), ("warn x",), "ref"),
    Stored(2.0, "Q1", "s1", "a@b.example", "<m@x>", 100, (("c@d.example", ""), ("e@f.example", "g@h.example"))),
    Mapped(2.0, "Q1", "virtual_alias_maps", "g@h.example", ("e@f.example",), BECAUSE),
    Attempted(3.0, "Q1", "c@d.example", "", Status("2.0.0", "ok"), "smtp", "d.example"),
    Ended(4.0, "Q2"),
]  # fmt: skip


class Time:
    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def writer(tmp_path: Path, said: list[str]) -> Writer:
    return Writer(str(tmp_path / "trace"), "receiver1", Time(), said.append)


def test_what_is_written_is_read(writer: Writer, tmp_path: Path) -> None:
    for record in RECORDS:
        writer.add(record)
    writer.flush()
    assert list(read(str(tmp_path / "trace"))) == RECORDS
    assert list(read(str(tmp_path / "trace"), lambda data: b"Q2" in data)) == [RECORDS[-1]]
    (file,) = (tmp_path / "trace").iterdir()
    assert file.stat().st_mode & 0o777 == 0o640


def test_several_writers_and_lives(tmp_path: Path, said: list[str]) -> None:
    path, time = str(tmp_path / "trace"), Time()
    for name in ("receiver1", "receiver2", "courier"):
        writer = Writer(path, name, time, said.append)
        writer.add(Ended(time.now, name))
        writer.close()
        time.now += 1
    assert [record.queue_id for record in read(path)] == ["receiver1", "receiver2", "courier"]


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    assert list(read(str(tmp_path / "nothing"))) == []
    sweep(str(tmp_path / "nothing"), 0, seconds=1, size=1)


@given(st.integers(0, 400), st.binary(max_size=30))
def test_damage_ends_a_file_and_no_more(cut: int, rubbish: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as path:
        writer = Writer(path, "receiver1", Time(), lambda text: None)
        for record in RECORDS:
            writer.add(record)
        writer.close()
        (name,) = os.listdir(path)
        file = Path(path, name)
        whole = file.read_bytes()
        file.write_bytes(whole[: min(cut, len(whole))] + rubbish)
        later = Writer(path, "receiver2", lambda: 1.8e9, lambda text: None)
        later.add(RECORDS[-1])
        later.close()
        found = list(read(path))
        assert found[-1] == RECORDS[-1]
        assert len(found) <= len(RECORDS) + 1 + len(rubbish) // 6


@pytest.mark.parametrize("other", [["zz", 1.0, "of another version"], ["e", "no time", "Q"], ["s", 1.0], {}, "\udcff"])
def test_a_record_that_nobody_can_read_costs_no_other_one(writer: Writer, tmp_path: Path, other: object) -> None:
    writer.add(RECORDS[0])
    writer.flush()
    data = msgspec.msgpack.encode(other) if other != "\udcff" else b"\xa2e\xff"
    (file,) = (tmp_path / "trace").iterdir()
    with file.open("ab") as stream:
        stream.write(len(data).to_bytes(4) + data)
    writer.add(RECORDS[-1])
    writer.flush()
    assert list(read(str(tmp_path / "trace"))) == [RECORDS[0], RECORDS[-1]]


def test_records_of_before_are_read(tmp_path: Path) -> None:
    """They have fewer fields: new ones go to the end, and have a default."""
    record = next(one for one in RECORDS if isinstance(one, Judged))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
    (tmp_path / "1700000000000-receiver0.trace").write_bytes(
        b"".join(len(data).to_bytes(4) + data for data in map(msgspec.msgpack.encode, (fields[:11], fields[:15])))
    )
    first, second = read(str(tmp_path))
    assert isinstance(first, Judged) and isinstance(second, Judged)
    assert (first.because, first.policy, first.recipients) == (record.because, True, ())
    assert second.asked == record.asked and second.policy


def test_a_large_file_is_followed_by_another(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_SIZE", 100)
    time = writer._now
    assert isinstance(time, Time)
    for _ in range(3):
        for record in RECORDS:
            writer.add(record)
        writer.flush()
        time.now += 1
    assert len(list((tmp_path / "trace").iterdir())) == 3
    assert list(read(str(tmp_path / "trace"))) == RECORDS * 3


def test_the_oldest_goes(tmp_path: Path) -> None:
    for number in range(5):
        file = tmp_path / f"{number:013d}-courier.trace"
        file.write_bytes(bytes(100))
        os.utime(file, (1000 + number, 1000 + number))
    other = tmp_path / "note"
    other.write_text("not ours")
    sweep(str(tmp_path), 1004.5, seconds=3, size=10_000)
    assert [file.name[12:13] for file in sorted(tmp_path.glob("*.trace"))] == ["2", "3", "4"]
    sweep(str(tmp_path), 1004.5, seconds=3, size=250)
    assert [file.name[12:13] for file in sorted(tmp_path.glob("*.trace"))] == ["3", "4"]
    assert other.exists()


def test_a_disk_that_takes_nothing_is_said_once_and_stops_nothing(tmp_path: Path, said: list[str]) -> None:
    blocked = tmp_path / "trace"
    blocked.write_text("a file where the directory should be")
    time = Time()
    writer = Writer(str(blocked), "courier", time, said.append)
    for _ in range(3):
        writer.add(RECORDS[-1])
        writer.flush()
    assert len(said) == 1 and str(blocked) in said[0]
    blocked.unlink()
    writer.add(RECORDS[-1])
    writer.flush()
    assert list(read(str(blocked))) == [RECORDS[-1]]


def test_a_record_that_is_no_text_is_kept_as_far_as_it_is(writer: Writer, tmp_path: Path) -> None:
    """A database may have a refusal's text in any encoding."""

    def records(name: str) -> list[Record]:
        status = Status("2.0.0", name, parts=(Part("a", "b", "2.0.0", name),))
        client = replace(CLIENT, helo=name)
        judged = Judged(1.0, "s1", "smtp/inet", "RCPT", replace(FACTS, client=client), "c@d.example", "", "reject",
                        f"554 5.7.1 {name}", replace(BECAUSE, argument=name), (Fact("a", "b", name),))  # fmt: skip
        return [judged, Attempted(3.0, "Q1", "c@d.example", "", status), RECORDS[1]]

    for record in records("Jos\udce9"):
        writer.add(record)
    writer.flush()
    assert list(read(str(tmp_path / "trace"))) == records("Jos?")


def test_a_store_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", closed)
    sweep(str(tmp_path), 0, seconds=1, size=1)


def test_who_had_nothing_to_write_for_long_begins_a_new_file(writer: Writer, tmp_path: Path) -> None:
    writer.add(RECORDS[0])
    writer.flush()
    sweep(str(tmp_path / "trace"), 9e9, seconds=3, size=10_000)
    time = writer._now
    assert isinstance(time, Time)
    time.now += 1e6
    writer.add(RECORDS[1])
    writer.flush()
    assert list(read(str(tmp_path / "trace"))) == [RECORDS[1]]
