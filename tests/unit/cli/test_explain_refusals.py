"""explain of refusals: by reference, the server's own, the newest of many, for those who can't read the store."""

import json
import os
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from postwarden.cli import explain
from postwarden.cli.explaining import recorded, store
from postwarden.cli.explaining.advice import _WITHOUT_POLICY, cure_without_policy
from postwarden.cli.explaining.recorded import newest
from postwarden.cli.explaining.still import Still
from postwarden.config.parameters import TABLE
from postwarden.ipc.queue_client import Bad, Denied, Down
from postwarden.ipc.queue_records import AskHistory, AskRefused
from postwarden.mail.decision import BUILT_IN, Fact, Origin, Rule
from postwarden.mail.envelope import Client
from postwarden.receive.refusals import _DECIDING, PROTOCOL, TROUBLE
from postwarden.trace.files import Writer
from postwarden.trace.records import Because, Facts, Judged

CLIENT = Client("mx.far.example", "192.0.2.7", 4711, "mx.far.example", "helo", "ESMTP")
FACTS = Facts(CLIENT, 2, 2, "127.0.0.1", 25, None, "joe@far.example", 0, 0, "", False, None)
LIMIT = Because("smtpd_recipient_limit", "1000", "/no/such/main.cf", 12)
TOO_MANY = Judged(
    1.7e9, "s1", "smtp/inet", "RCPT", FACTS, "ann@here.example", "", "defer",
    "452 4.5.3 Error: too many recipients [ref 7K3-Q9D-2MX]", LIMIT, reference="7K3-Q9D-2MX", policy=False,
)  # fmt: skip
WHOLE = Judged(
    1.7e9 + 1, "s2", "smtp/inet", "END-OF-MESSAGE", FACTS, "", "4XyZbC1234z", "reject",
    "554 5.4.0 Error: too many hops",
    Because("hopcount_limit", "50"), recipients=tuple(f"r{n}@here.example" for n in range(8)), policy=False,
)  # fmt: skip
BABBLE = Judged(1.7e9 + 2, "s3", "smtp/inet", "UNKNOWN", FACTS, "", "", "reject", "500 5.5.2 Error: bad syntax",
                Because(PROTOCOL), policy=False)  # fmt: skip


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\ncompatibility_level = 3.6\n")
    (tmp_path / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    (tmp_path / "postwarden").mkdir()
    writer = Writer(str(tmp_path / "postwarden" / "trace"), "receiver0", lambda: 1.7e9, print)
    for record in (TOO_MANY, WHOLE, BABBLE):
        writer.add(record)
    writer.close()
    return tmp_path


def ask(etc: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], str]:
    code = explain.main("explain", [str(etc), "--offline", *words])
    said = capsys.readouterr()
    return code, said.out.splitlines(), said.err


@pytest.mark.parametrize("name", ["7K3-Q9D-2MX", "7k3-q9d-2mx", "7k3q9d2mx", "[ref 7K3-Q9D-2MX]"])
def test_by_the_reference_that_somebody_reads_out(etc: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, said, err = ask(etc, capsys, name)
    assert (code, err) == (0, "")
    assert said[0].endswith("mx.far.example[192.0.2.7] from <joe@far.example> to <ann@here.example>")
    assert said[1:] == [
        "  452 4.5.3 Error: too many recipients [ref 7K3-Q9D-2MX]",
        "  by smtpd_recipient_limit 1000 of smtp/inet at /no/such/main.cf:12",
        "  as the configuration is now: there is no /no/such/main.cf; `explain --client` plays the session again",
        "  to change it: the client sends to the others in a further message by itself; for more at a time raise it; "
        "smtpd_recipient_limit is set at /no/such/main.cf:12",
    ]
    ((found,),) = [[json.loads(line) for line in ask(etc, capsys, "-j", name)[1]]]
    assert (found["reference"], found["policy"], found["recipient"]) == ("7K3-Q9D-2MX", False, "ann@here.example")


def test_a_reference_that_is_not_there_is_no_address(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["7K3-Q9D-2MY"], ["-j", "7K3-Q9D-2MY"]):
        code, said, err = ask(etc, capsys, *words)
        assert (code, said) == (1, [])
        assert err.startswith("no refusal with the reference 7K3-Q9D-2MY is recorded (kept for 7d at most")


def test_a_word_that_may_be_one_is_an_address_all_the_same(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, err = ask(etc, capsys, "carpenter")
    assert (code, err, said[0][:10]) == (1, "", "carpenter@")


def test_by_the_queue_id_of_the_log(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = ask(etc, capsys, "4XyZbC1234z")
    assert code == 0
    assert said[0].endswith("to <r0@here.example>, <r1@here.example>, <r2@here.example>, <r3@here.example>, "
                            "<r4@here.example> and 3 more")  # fmt: skip
    assert said[2] == "  by hopcount_limit 50 of smtp/inet, a default"


def test_what_broke_the_rules_of_smtp(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said, _ = ask(etc, capsys, "--refused")
    assert said[-2:] == [
        "  by the rules of SMTP in UNKNOWN",
        "  to change it: the client's program has to keep to them",
    ]
    assert len([line for line in said if "mx.far.example" in line]) == 3


def test_the_recipients_of_a_message_find_it(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = ask(etc, capsys, "--refused", "--to", "R7@here.example")
    assert (code, len(said)) == (0, 4)


def test_the_newest_of_many(etc: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "MOST", 1)
    monkeypatch.setattr(recorded.newest, "__defaults__", (1,))
    _, said, _ = ask(etc, capsys, "--refused")
    assert (said[0], said[2]) == ("the newest of 3; -j has all", "  500 5.5.2 Error: bad syntax")
    assert len(ask(etc, capsys, "-j", "--refused")[1]) == 3


def test_newest_is_by_time_and_not_by_file() -> None:
    kept, left_out = newest([BABBLE, TOO_MANY, WHOLE, TOO_MANY], 2)
    assert (kept, left_out) == ([WHOLE, BABBLE], 2)


def test_each_parameter_that_refuses_has_an_advice() -> None:
    for _, name in _DECIDING:
        assert name in TABLE and name in _WITHOUT_POLICY
    assert {TROUBLE, PROTOCOL, "fast_flush_domains", "smtpd_client_connection_count_limit"} <= _WITHOUT_POLICY.keys()
    assert cure_without_policy(Rule("x_limit", "1", BUILT_IN)) == "see x_limit"
    assert cure_without_policy(Rule("x_limit", "1", Origin("/m", 3, ""))).endswith("; x_limit is set at /m:3")


# Who can't read the store


class Answers:
    """A `QueueClient` that answers, or raises."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = answers
        self.asked: list[AskHistory | AskRefused] = []

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *rest: object) -> None: ...

    def decisions(self, question: AskHistory | AskRefused) -> list[bytes]:
        self.asked.append(question)
        for answer in self.answers:
            if isinstance(answer, Exception):
                raise answer
        return [answer for answer in self.answers if isinstance(answer, bytes)]


@pytest.fixture
def closed(etc: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store is another user's, whoever runs the tests."""
    trace = str(etc / "postwarden" / "trace")
    monkeypatch.setattr(os, "access", lambda path, mode: os.fspath(path) != trace)
    return etc


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Down("/q: Connection refused"),
         "is not readable for you, and the mail system, which would look for you, is down: /q: Connection refused"),
        (PermissionError(13, "Permission denied"), "is down: [Errno 13] Permission denied"),
        (Denied("User joe(7) is not allowed to view what happened to mail"), "User joe(7) is not allowed to view"),
        (Bad("too long a name"), "too long a name"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", [["--refused"], ["4XyZbC1234z"], ["7K3-Q9D-2MX"], ["<m@x>"]])
def test_who_is_not_answered_hears_why(
    closed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    error: Exception, said: str, words: list[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(store, "connect", lambda settings: Answers(error))
    code, out, err = ask(closed, capsys, *words)
    assert (code, out) == (2, [])
    assert err.startswith("postwarden: fatal: explain: ") and said in err


@pytest.mark.parametrize("words", [["--refused"], ["4XyZbC1234z"], ["7K3-Q9D-2MX"]])
def test_a_store_that_can_not_be_read_is_not_one_that_has_nothing(
    etc: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    trace = etc / "postwarden" / "trace"
    trace.rename(etc / "away")
    trace.write_text("no directory")
    code, out, err = ask(etc, capsys, *words)
    assert (code, out) == (2, [])
    assert err.startswith("postwarden: fatal: explain: ") and str(trace) in err


def test_what_he_asks_is_what_he_named(
    closed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    courier = Answers()
    monkeypatch.setattr(store, "connect", lambda settings: courier)
    ask(closed, capsys, "--refused", "--client", "192.0.2.7", "--from", "a@b", "--to", "c@d")
    ask(closed, capsys, "4XyZbC1234z")
    assert courier.asked == [AskRefused("192.0.2.7", "a@b", "c@d", 0.0), AskHistory("4XyZbC1234z")]


def test_a_plain_address_needs_no_store(
    closed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "connect", lambda settings: Answers(Down("x")))
    assert ask(closed, capsys, "carpenter")[2] == ""


def test_what_is_no_utf_8_is_in_no_record(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["<\udcff@x>"], ["-j", "\udcff@x"], ["--refused", "--from", "\udcff@x"]):
        code, said, err = ask(etc, capsys, *words)
        assert (code, said) == (2, [])
        assert "@x" in err and "is no UTF-8" in err


def test_a_store_that_can_not_even_be_looked_for_is_the_couriers(
    etc: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: object, **rest: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store.os, "stat", closed)
    monkeypatch.setattr(store, "connect", lambda settings: Answers(Down("down")))
    assert ask(etc, capsys, "--refused")[0] == 2


@pytest.mark.parametrize("text", ["x", "2", "h", "-1h", "2y"])
def test_a_bad_time(etc: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert ask(etc, capsys, "--refused", f"--since={text}")[0] == 2


def test_nothing_of_that_time(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, err = ask(etc, capsys, "--refused", "--since", "1h")
    assert (code, said) == (1, [])
    assert err.startswith("no refusal that fits is recorded")


def test_mail_to_nobody_is_not_said_to_arrive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = mx.here.example\nalias_maps =\n")
    (tmp_path / "master.cf").write_text("smtp inet n - n - - smtpd\nlocal unix - n n - - local\n")
    for words in ([""], ["<>"]):
        code, said, _ = ask(tmp_path, capsys, *words)
        assert code == 1
        assert said[0] == "<>: thrown away: the required alias mailer-daemon is missing: mail does not get there"
        assert "delivered" not in "".join(said)


def test_a_table_that_could_not_answer(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(str(etc / "postwarden" / "trace"), "receiver1", lambda: 1.7e9, print)
    why = (Fact("hash:/no/table", "", "open database /no/table.lmdb: No such file or directory"),)
    access = Because("check_sender_access", "hash:/no/table", "/no/such/main.cf", 12)
    unnamed = Because("hash:/no/table", "")
    refusal = "451 4.3.5 <joe@far.example>: Sender address rejected: Server configuration error"
    writer.add(Judged(1.7e9, "s4", "smtp/inet", "RCPT", FACTS, "a@x.example", "", "defer", refusal, access, why))
    failure = "451 4.3.0 <a@y.example>: Temporary lookup failure"
    writer.add(Judged(1.7e9, "s4", "smtp/inet", "RCPT", FACTS, "a@y.example", "", "defer", failure, unnamed, why))
    writer.close()
    said = ask(etc, capsys, "--refused", "--to", "a@x.example")[1]
    cure = "  to change it: mend hash:/no/table: until it answers (open database /no/table.lmdb: No such file or"
    assert said[2] == "  by check_sender_access hash:/no/table of smtp/inet at /no/such/main.cf:12"
    assert said[-1].startswith(cure) and said[-1].endswith("; check_sender_access stands at /no/such/main.cf:12")
    (etc / "main.cf").write_text((etc / "main.cf").read_text() + "canonical_maps = inline:{}, hash:/no/table\n")
    said = ask(etc, capsys, "--refused", "--to", "a@y.example")[1]
    assert said[2] == "  by hash:/no/table, which could not answer, of smtp/inet"
    assert said[-1].startswith(cure) and said[-1].endswith(f"; canonical_maps stands at {etc}/main.cf:3")


def test_programs_get_refusals_in_order_of_time_with_what_people_get(
    etc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(str(etc / "postwarden" / "trace"), "receiver9", lambda: 1.8e9, print)
    writer.add(replace(TOO_MANY, when=1.6e9))
    writer.close()
    found = [json.loads(line) for line in ask(etc, capsys, "-j", "--refused")[1]]
    assert [one["when"] for one in found] == [1.6e9, 1.7e9, 1.7e9 + 1, 1.7e9 + 2]
    assert re.fullmatch(r"2020-09-1\d \d\d:\d\d:\d\d", found[0]["time"])
    assert "the client's program has to keep" in found[3]["cure"]


RULE = Because("reject_unknown_client_hostname", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\nrules = permit_mynetworks,\n  reject_unknown_client_hostname\n", ""),
        ("x = 1\nrules = permit_mynetworks,\n# more\n\n reject_unknown_client_hostname\n", ""),
        ("x = 1\nrules = $others\nothers = reject_unknown_client_hostname\n", ""),
        ("x = 1\n\n", "it does not stand at {file}:2 any more"),
        ("", "it does not stand at {file}:2 any more"),
        ("x = 1\n#rules = reject_unknown_client_hostname\n", "it does not stand at {file}:2 any more"),
        ("rules = reject_unknown_client_hostname\ny = 2\n", "it stands at {file}:1"),
        (None, "there is no {file}"),
    ],
)
def test_a_restriction_that_was_taken_out_or_moved_is_said(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "other.cf"
    if text is not None:
        file.write_text(text)
    judged = replace(TOO_MANY, because=replace(RULE, file=str(file), line=2))
    assert Still().changed(judged) == says.format(file=file)


def test_an_entry_of_a_table_and_a_default(tmp_path: Path) -> None:
    table = tmp_path / "access"
    table.write_text("# who\nJoe@far.example REJECT\n")
    because = Because("check_sender_access", f"texthash:{table}", str(table), 2)
    judged = replace(TOO_MANY, because=because, known=(Fact("sender", "joe@far.example", "REJECT"),))
    assert Still().changed(judged) == ""
    table.write_text("# who\nann@far.example REJECT\n")
    assert Still().changed(judged) == f"it does not stand at {table}:2 any more"
    assert Still().changed(WHOLE) == ""
    called = replace(TOO_MANY, because=Because("what nobody writes", "", str(table), 2))
    assert Still().changed(called) == ""


def test_what_changed_is_said_with_the_refusal(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(str(etc / "postwarden" / "trace"), "receiver9", lambda: 1.8e9, print)
    writer.add(replace(TOO_MANY, when=1.8e9, because=replace(RULE, file=str(etc / "main.cf"), line=17)))
    writer.close()
    _, said, _ = ask(etc, capsys, "--refused")
    (line,) = [line for line in said if f"it does not stand at {etc}/main.cf:17 any more" in line]
    assert line.startswith("  as the configuration is now: ")
