from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from postwarden.bounce.expansion import Texts, open_texts
from postwarden.bounce.opening import open_reports
from postwarden.bounce.templates import KINDS, TemplateError, author, built_in, parse
from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Origin
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import Content
from postwarden.mail.round import Kind, Report
from postwarden.mail.status import Status
from postwarden.testing.config import settings

FILE = "/etc/postfix/bounce.cf"
WHERE = Origin("/etc/postfix/main.cf", 3, "bounce_template_file = /etc/postfix/bounce.cf")
WHOLE = """\
# ours

failure_template = <<EOF
charset: utf-8
From: Robot (on duty)
Subject: It failed

Host $myhostname, $$5, ${mail_name?known}, \\no escape

 second, ünicode
EOF
"""


def test_a_template() -> None:
    templates, warnings = parse(WHOLE.encode(), FILE)
    assert warnings == []
    failure = templates["failure"]
    assert (failure.charset, failure.author, failure.subject) == ("utf-8", "Robot (on duty)", "It failed")
    assert failure.postmaster_subject == "Postmaster Copy: Undelivered Mail"
    assert failure.text == ("Host $myhostname, $$5, ${mail_name?known}, \\no escape", "", " second, ünicode")
    assert templates["delay"] == built_in()["delay"]


def failing(*lines: str) -> bytes:
    return "\n".join(("failure_template = <<EOF", *lines, "EOF", "")).encode()


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        (failing("X-Strange: a", "", "t"), 'unknown "X-Strange" header label in failure template'),
        (failing("Subject:", "", "t"), 'empty "Subject" header value in failure template'),
        (failing("Subject: ü", "", "t"), 'non-ASCII "Subject" header value in failure template'),
        (failing("Subject: a\0b", "", "t"), 'non-ASCII "Subject" header value in failure template'),
        (failing("Subject: a"), "missing message text in failure template"),
        (failing("Subject: a", "", "ü"), "8-bit message text in failure template"),
        (b"strange_template = <<EOF\nSubject: x\n\ntext\nEOF\n", "unknown template name: strange_template"),
        (b"failure = x\n", "unknown template name: failure"),
    ],
)
def test_a_template_with_a_fault_is_left_out(data: bytes, warning: str) -> None:
    templates, warnings = parse(data, FILE)
    assert templates == built_in()
    assert len(warnings) == 1
    assert warnings[0].startswith(FILE)
    assert warning in warnings[0]
    assert warnings[0].endswith(" -- ignoring this template")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (failing("", "only text"), ("only text",)),
        (failing("Subject: x", " more", "", "text"), (" more", "", "text")),
        (failing("no header line", "", "text"), ("no header line", "", "text")),
        (b"failure_template = text\n", ("text",)),
        (b"  failure_template=<<X  \nsubject:a\n\ntext\nX\n", ("text",)),
        (b"failure_template = <<EOF\r\nSubject: a\r\n\r\ntext\r\nEOF\r\n", ("text",)),
        (failing("Subject: a", "", "one") + failing("Subject: b", "", "two"), ("two",)),
        (failing("Subject: a", "", ".", "From x", "", ""), (".", "From x", "", "")),
    ],
)
def test_text(data: bytes, text: tuple[str, ...]) -> None:
    templates, warnings = parse(data, FILE)
    assert warnings == []
    assert templates["failure"].text == text


def test_an_end_that_is_missing() -> None:
    templates, warnings = parse(b"failure_template = <<EOF\nSubject: x\n\ntext\n", FILE)
    assert templates["failure"].text == ("text",)
    assert warnings == [f'{FILE}, line 4: missing "EOF" end marker']


@pytest.mark.parametrize(
    ("data", "line", "text"),
    [
        (b"\n# x\nhello there\n", 3, "missing '=' after attribute name: \"hello there\""),
        (b"failure_template = <<\ntext\n", 1, "missing end marker after <<"),
        (b"failure_template = <<__\ntext\n__\n", 1, "malformed end marker after <<"),
    ],
)
def test_what_is_no_template_file(data: bytes, line: int, text: str) -> None:
    with pytest.raises(TemplateError, match=text) as caught:
        parse(data, FILE)
    assert (caught.value.origin.file, caught.value.origin.line) == (FILE, line)


def texts(tmp_path: Path, text: str, **parameters: str) -> Texts:
    file = tmp_path / "bounce.cf"
    file.write_text(text)
    return open_texts(settings(**parameters), str(file), WHERE)


def test_names_are_expanded(tmp_path: Path) -> None:
    found = texts(tmp_path, WHOLE)
    assert found.expanded["failure"] == ("Host mx.example.com, $5, known, \\no escape", "", " second, ünicode")
    assert found.expanded["verify"][0] == "This is the mail system at host mx.example.com."


def test_times_in_a_unit(tmp_path: Path) -> None:
    line = "$delay_warning_time $delay_warning_time_seconds ${delay_warning_time_minutes} $delay_warning_time_hours"
    line += " $maximal_queue_lifetime_days $maximal_queue_lifetime_weeks"
    text = f"delay_template = <<E\nSubject: x\n\n{line}\nE\n"
    found = texts(tmp_path, text, delay_warning_time="90m")
    assert found.expanded["delay"] == ("90m 5400 90 1 5 0",)
    assert len(found.warnings) == 1
    assert 'zero result in delay template conversion of parameter "maximal_queue_lifetime_weeks"' in found.warnings[0]


def test_no_delay_is_no_reason_to_warn() -> None:
    assert open_texts(settings(), "", WHERE).warnings == ()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("text $(foo", "bad .name syntax in failure template: text"),
        ("a $$b $nosuch", "undefined .name in failure template"),
        ("$delay_warning_time_years", 'unrecognized suffix "years" in parameter "delay_warning_time_years"'),
    ],
)
def test_what_cant_be_expanded(tmp_path: Path, line: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        texts(tmp_path, f"failure_template = <<E\nSubject: x\n\n{line}\nE\n")


def test_a_file_that_cant_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        open_texts(settings(), str(tmp_path / "none"), WHERE)
    assert caught.value.origin == WHERE
    (tmp_path / "big").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger than"):
        open_texts(settings(), str(tmp_path / "big"), WHERE)
    with pytest.raises(ConfigError):
        open_texts(settings(), str(tmp_path), WHERE)


PIECES = st.sampled_from(
    [b"failure_template", b"delay_template", b" = ", b"<<", b"EOF", b"\n", b"\r\n", b"Subject: ", b"From:", b"x", b"#",
     b"\xff", b"\0", b":", b" ", b"Charset: utf-8"]
)  # fmt: skip


@effort(max_examples=300)
@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_whatever_the_file_has(data: bytes) -> None:
    try:
        templates, _ = parse(data, FILE)
    except TemplateError as error:
        assert error.origin.line <= data.count(b"\n") + 1
        return
    assert set(templates) == set(KINDS)
    for template in templates.values():
        assert template.text
        assert author(template, "standard").isprintable()
        assert template.subject.isprintable()
        assert template.subject


def test_a_file_that_changes_is_read_and_one_that_is_wrong_is_not(tmp_path: Path) -> None:
    file = tmp_path / "bounce.cf"
    file.write_text("failure_template = <<E\nSubject: first\n\nx\nE\n")
    warned: list[str] = []
    reports = open_reports(settings(bounce_template_file=str(file)), lambda: 0.0, warned.append)

    def subject() -> str:
        wanted = Report(Kind.FAILURE, "joe@x", ((0, Status("5.0.0", "no")),), "")
        message = Envelope("ID", 0.0, "joe@x", (Recipient("a@x"),), 1)
        head = reports.compose(wanted, message, Content(b"\r\n", b""), "NEW").head.decode()
        return head.partition("Subject: ")[2].partition("\r\n")[0]

    assert subject() == "first"
    file.write_text("failure_template = <<E\nSubject: second\n\nxy\nE\n")
    reports.refresh()
    assert subject() == "second"
    file.write_text("no template\n")
    with pytest.raises(ConfigError, match="missing '='"):
        reports.refresh()
    reports.refresh()  # said once
    assert subject() == "second"
    file.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        reports.refresh()
    assert subject() == "second"
    file.write_text("failure_template = <<E\nSubject: third\n\nü\nE\n")
    reports.refresh()
    assert subject() == "Undelivered Mail Returned to Sender"
    assert len(warned) == 1
