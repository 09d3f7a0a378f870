"""What postsuper says and does, with a queue in memory."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from postwarden.cli import postsuper
from postwarden.cli.postsuper import Request, lines, parse, perform
from postwarden.cli.tool import Misuse, Voice
from postwarden.ipc.queue_records import DELETE, EXPIRE, HOLD, RELEASE, REQUEUE
from postwarden.mail.envelope import Recipient
from postwarden.spool.files import make_spool
from postwarden.spool.maildrop import drop, maildrop_directory, make_maildrop
from postwarden.wire.submission import Submission, whole

Captured = pytest.CaptureFixture[str]


class Memory:
    """Queue ids and the queue that each is in."""

    def __init__(self, **messages: str) -> None:
        self.messages = messages
        self.expired: set[str] = set()

    def act(self, operation: str, queue_ids: Iterable[str], queues: Sequence[str] = ()) -> Iterator[str]:
        for queue_id in queue_ids:
            queue = self.messages.get(queue_id)
            if queue and (not queues or queue in queues) and self._do(operation, queue_id):
                yield queue_id

    def act_on_all(self, operation: str, queues: Sequence[str] = ()) -> Iterator[str]:
        return self.act(operation, list(self.messages), queues)

    def _do(self, operation: str, queue_id: str) -> bool:
        queue = self.messages[queue_id]
        if operation in (DELETE, REQUEUE):
            del self.messages[queue_id]
        elif operation == EXPIRE:
            new = queue_id not in self.expired
            self.expired.add(queue_id)
            return new
        else:
            wanted, other = ("hold", "deferred") if operation == HOLD else ("deferred", "hold")
            if (queue == "hold") != (other == "hold"):
                return False
            self.messages[queue_id] = wanted
        return True


def did(queue: Memory, words: str, capsys: Captured) -> tuple[list[str], dict[str, int]]:
    """Lines on standard error, and the numbers."""
    request = parse(words.split())
    tally = {operation: 0 for letter, _ in request.acts for operation in postsuper._OPERATIONS[letter]}
    perform(queue, request, Voice("postsuper"), tally)
    return capsys.readouterr().err.splitlines(), tally


def test_by_name(capsys: Captured) -> None:
    queue = Memory(AAA="deferred", BBB="hold", CCC="active")
    assert did(queue, "-h AAA -h BBB -h DDD", capsys) == (["postsuper: AAA: placed on hold"], {HOLD: 1})
    assert did(queue, "-H AAA -H AAA", capsys) == (["postsuper: AAA: released from hold"], {RELEASE: 1})
    assert did(queue, "-d CCC -d CCC -r AAA", capsys) == (
        ["postsuper: CCC: removed", "postsuper: AAA: requeued"],
        {DELETE: 1, REQUEUE: 1},
    )
    assert queue.messages == {"BBB": "hold"}


def test_in_the_order_of_the_command_line(capsys: Captured) -> None:
    said, tally = did(Memory(AAA="deferred"), "-h AAA -d AAA", capsys)
    assert said == ["postsuper: AAA: placed on hold", "postsuper: AAA: removed"] and tally == {HOLD: 1, DELETE: 1}
    said, tally = did(Memory(AAA="deferred"), "-d AAA -h AAA", capsys)
    assert said == ["postsuper: AAA: removed"] and tally == {DELETE: 1, HOLD: 0}


def test_force_expire_releases_what_is_held(capsys: Captured) -> None:
    queue = Memory(AAA="hold", BBB="deferred")
    said, tally = did(queue, "-f AAA -f BBB", capsys)
    assert said == ["postsuper: AAA: expired", "postsuper: AAA: released from hold", "postsuper: BBB: expired"]
    assert tally == {EXPIRE: 2, RELEASE: 1}
    assert did(queue, "-f AAA", capsys) == ([], {EXPIRE: 0, RELEASE: 0})


def test_all_is_told_as_a_number_only(capsys: Captured) -> None:
    queue = Memory(AAA="hold", BBB="deferred", CCC="deferred")
    assert did(queue, "-h ALL deferred", capsys) == ([], {HOLD: 2})
    assert did(queue, "-d ALL deferred", capsys) == ([], {DELETE: 0})
    assert did(queue, "-f ALL", capsys) == ([], {EXPIRE: 3, RELEASE: 3})
    assert did(queue, "-d all", capsys) == ([], {DELETE: 0})
    assert did(queue, "-d ALL bounce", capsys) == ([], {DELETE: 0})
    assert did(queue, "-d ALL", capsys) == ([], {DELETE: 3})


@pytest.mark.parametrize("name", ["", "x y", "../x", "a.b", "-x", "ä", "a" * 256, "a\nb"])
def test_no_queue_ids(name: str, capsys: Captured) -> None:
    tally = {DELETE: 0}
    perform(Memory(), Request(acts=[("d", name)]), Voice("postsuper"), tally)
    shown = name.replace("\n", "?")
    assert capsys.readouterr().err == f"postsuper: warning: invalid mail queue id: {shown}\n"


def test_queue_ids_from_standard_input(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Memory(**{f"ID{n}": "deferred" for n in range(5000)}, KEEP="deferred")
    reader, writer = os.pipe()
    text = b"\nbad id\n" + b"".join(b"ID%d\n" % n for n in range(5000))
    if os.fork() == 0:
        os.close(reader)
        while text:
            text = text[os.write(writer, text) :]
        os._exit(0)
    os.close(writer)
    saved = os.dup(0)
    os.dup2(reader, 0)
    try:
        said, tally = did(queue, "-d - -h -", capsys)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reader)
        os.wait()
    assert said[:2] == [
        "postsuper: warning: invalid mail queue id: ",
        "postsuper: warning: invalid mail queue id: bad id",
    ]
    assert len(said) == 5002 and tally == {DELETE: 5000, HOLD: 0} and queue.messages == {"KEEP": "deferred"}


def test_lines_come_whole_and_bounded() -> None:
    def split(data: bytes, size: int) -> list[str]:
        stream = io.BytesIO(data)
        return [line for block in lines(lambda _: stream.read(size)) for line in block]

    assert split(b"AB\n\nCD\r\nlast", 3) == ["AB", "", "CD\r", "last"] == split(b"AB\n\nCD\r\nlast", 99)
    assert split(b"", 3) == []
    (endless,) = split(b"x" * 500_000, 1000)
    assert len(endless) <= 66_000


@pytest.mark.parametrize("words", ["-x", "-d", "-pX", "--help"])
def test_misuse(words: str) -> None:
    with pytest.raises(Misuse):
        parse(words.split())


def test_words_behind_the_queues_are_queues() -> None:
    assert parse(["-vd", "A", "-rB", "hold", "-x"]) == Request("", [("d", "A"), ("r", "B")], ["hold", "-x"])


def run(capsys: Captured, *words: str) -> tuple[int, str]:
    code = postsuper.main("postsuper", list(words))
    return code, capsys.readouterr().err


def test_what_it_says_when_it_fails(tmp_path: Path, capsys: Captured) -> None:
    if os.geteuid() != 0:
        assert run(capsys, "-x") == (1, "postsuper: fatal: use of this command is reserved for the superuser\n")
        return
    assert run(capsys, "-x") == (1, f"postsuper: invalid option -- 'x'\npostsuper: fatal: {postsuper.USAGE}\n")
    directory = f"{tmp_path}/none"
    text = f"postsuper: fatal: open {directory}/main.cf: No such file or directory\n"
    assert run(capsys, "-c", directory, "-d", "ALL") == (1, text)
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}/queue\nmaillog_file = {tmp_path}/log\n")
    text = "postsuper: fatal: invalid directory name: nonqueue\n"
    assert run(capsys, "-c", str(tmp_path), "-d", "ALL", "nonqueue") == (1, text)
    text = f"postsuper: fatal: chdir {tmp_path}/queue: No such file or directory\n"
    assert run(capsys, "-c", str(tmp_path), "-d", "ALL") == (1, text)
    assert "postfix/postsuper[" in (tmp_path / "log").read_text()


def test_maildrop_belongs_to_the_queue(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}/queue\nmaillog_file = {tmp_path}/log\n")
    spool = tmp_path / "queue" / "postwarden"
    make_spool(str(spool))
    make_maildrop(maildrop_directory(f"{tmp_path}/queue"))
    mail = Submission("me@example.org", (Recipient("x@dead.example"),))
    names = [drop(maildrop_directory(f"{tmp_path}/queue"), whole(mail, [b"\n"])) for _ in range(3)]
    directory = str(tmp_path)
    assert run(capsys, "-c", directory, "-h", "ALL") == (0, "postsuper: Placed on hold: 0 messages\n")
    code, said = run(capsys, "-c", directory, "-d", names[0])
    assert (code, said) == (0, f"postsuper: {names[0]}: removed\npostsuper: Deleted: 1 message\n")
    assert run(capsys, "-c", directory, "-d", "ALL", "hold") == (0, "postsuper: Deleted: 0 messages\n")
    assert run(capsys, "-c", directory, "-d", "ALL") == (0, "postsuper: Deleted: 2 messages\n")
