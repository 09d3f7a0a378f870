from pathlib import Path

import pytest

from postwarden.cli.checking import sending
from postwarden.cli.checking.everything import check
from postwarden.cli.checking.findings import Finding
from postwarden.config.settings import load
from postwarden.testing.config import settings

READER = Path(__file__).with_name("reader-main.cf")


def said(main_cf: str = "", **parameters: str) -> list[Finding]:
    return list(sending.findings(settings(main_cf, **parameters)))


def test_nothing_is_said_of_defaults() -> None:
    assert said() == []
    assert said("relayhost = [gw.example.net]:587\ninet_interfaces = all\nmailbox_command = sh -c true\n") == []


@pytest.mark.parametrize("name", ["default_transport", "relay_transport", "local_transport"])
def test_a_bare_error_transport_is_an_error(name: str) -> None:
    (only,) = said(f"relay_domains = r.example\n{name} = error\n")
    assert (only.severity, only.origin.line, only.what) == ("error", 2, f"{name} = error")
    assert "returned to its sender" in only.why and "remove the line" in only.cure


@pytest.mark.parametrize(
    ("main_cf", "severity"),
    [
        ("default_transport = error:5.7.1 nothing leaves this machine\n", "note"),
        ("mydestination =\nlocal_transport = error:local mail delivery is disabled\n", "note"),
        ("default_transport = error\ntransport_maps = inline:{x.example=smtp:[x.example]}\n", "warning"),
        ("virtual_transport = error\n", "note"),
        ("default_transport = discard\n", "error"),
    ],
)
def test_how_bad_a_dead_end_is(main_cf: str, severity: str) -> None:
    (only,) = said(main_cf)
    assert only.severity == severity


def test_a_relayhost_that_is_never_asked_is_named() -> None:
    (only,) = said("default_transport = error\nrelayhost = [gw.example.net]\n")
    assert "relayhost = [gw.example.net] is never asked" in only.why


@pytest.mark.parametrize(
    ("name", "severity"),
    [("localhost", "error"), ("box.localdomain", "error"), ("box", "warning"), ("mail.example.com", "")],
)
def test_names_that_nobody_else_knows(name: str, severity: str) -> None:
    found = said(f"myhostname = {name}\n")
    assert [f.severity for f in found] == ([severity] if severity else [])


def test_a_relayhost_may_not_care_for_our_name() -> None:
    assert [f.severity for f in said("myhostname = localhost\nrelayhost = [gw.example.net]\n")] == ["warning"]


def test_what_loopback_alone_means() -> None:
    for value in ("localhost", "loopback-only", "127.0.0.1, [::1]"):
        (only,) = said(f"inet_interfaces = {value}\n")
        assert only.severity == "note" and "mail that leaves is not affected" in only.why
    assert said("inet_interfaces = 127.0.0.1, 192.0.2.1\n") == []


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ('no-such-program -a "$EXTENSION"', "no-such-program"),
        ("/nonexistent/maildrop", "/nonexistent/maildrop"),
        ("sh", ""),
        ("/bin/sh -c x", ""),
        ("IFS=' ' && exec /nonexistent/procmail", ""),
        ('"unbalanced', ""),
        ("", ""),
    ],
)
def test_a_mailbox_command_that_is_not_there(command: str, program: str) -> None:
    found = said(f"mailbox_command = {command}\n")
    assert [f.what.split()[2].strip(",") for f in found] == ([program] if program else [])


def test_commands_of_single_users_are_looked_at() -> None:
    (only,) = said("mailbox_command_maps = inline:{ {joe=/nonexistent/x -d} {sue=/bin/sh -c true} }\n")
    assert only.what == "mailbox_command_maps, joe: needs /nonexistent/x, which is not there"


def test_a_missing_level_means_the_defaults_of_old(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("myhostname = mx.example.com\n")
    (only,) = sending.findings(load(tmp_path))
    assert (only.severity, only.what) == ("warning", "compatibility_level is not set")
    (tmp_path / "main.cf").write_text("")
    assert [f.what for f in sending.findings(load(tmp_path)) if "level" in f.what] == []


def test_each_thing_that_keeps_a_reader_from_sending_is_named_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEARCHED", str(tmp_path))
    (tmp_path / "main.cf").write_text(READER.read_text() + f"queue_directory = {tmp_path}/queue\n")
    found = [f for f in check(load(tmp_path), ask=False) if f.origin.file.endswith("main.cf")]
    errors = {f.origin.line: f"{f.what} {f.why}" for f in reversed(found) if f.severity == "error"}
    assert "default_transport = error" in errors[18]
    assert "relay_transport = error" in errors[19]
    assert "mynetworks does not trust 127.0.0.1" in errors[13]
    assert any('bad address pattern: "[::ffff:]/104"' in f.what and "its address is lost" in f.why for f in found)
    assert "myhostname = localhost is no public name" in errors[8]
    assert "procmail, which is not there" in errors[14]
    (note,) = [f for f in found if f.origin.line == 17]
    assert note.severity == "note" and "only programs on this machine can connect" in note.why
    assert any(
        "specify at least one working instance" in f.what and "compatibility_level = 3.6" in f.cure for f in found
    )
    assert sorted(errors) == [0, 8, 13, 14, 18, 19]
