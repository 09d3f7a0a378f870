from pathlib import Path

import pytest

from postwarden.cli.checking import transports
from postwarden.config.settings import load
from postwarden.testing.config import settings

MASTER = "smtp inet n - n - - smtpd\nsmtp unix - - n - - smtp\nlmtp unix - - n - - lmtp\nlocal unix - n n - - local\n"


def said(main_cf: str, more: str = "") -> list[tuple[str, str, int, str]]:
    found = transports.findings(settings(main_cf, MASTER + more))
    return [(f.severity, f.origin.file.rpartition("/")[2], f.origin.line, f.what) for f in found]


@pytest.mark.parametrize(
    "main_cf",
    [
        "",
        "transport_maps = inline:{a.example=smtp:[gw.example] b.example=: c.example=lmtp:inet:localhost:24}\n",
        "content_filter =\nmailbox_transport = lmtp:inet:[127.0.0.1]\n",
        "transport_maps = regexp:{{/^(.*)@x$/ smtp:$1}}\n",
        "sender_dependent_default_transport_maps = inline:{a@x=DUNNO}\n",
    ],
)
def test_nothing_is_said_of(main_cf: str) -> None:
    assert said(main_cf) == []


@pytest.mark.parametrize("name", ["mailbox_transport", "fallback_transport", "content_filter"])
def test_a_transport_that_master_cf_does_not_have(name: str) -> None:
    assert said(f"{name} = amavis:[127.0.0.1]:10024\n") == [
        ("error", "main.cf", 1, f"{name}: master.cf has no service amavis")
    ]


def test_rows_of_a_table_are_named_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "transport").write_text("# here\na.example smtp:[gw.example]\nb.example slow:\nc.example gw.example\n")
    (tmp_path / "main.cf").write_text("transport_maps = hash:transport\n")
    (tmp_path / "master.cf").write_text(MASTER)
    found = [(f.severity, f.origin.line, f.what) for f in transports.findings(load(tmp_path))]
    assert found == [
        ("error", 3, "transport_maps, b.example: master.cf has no service slow"),
        ("warning", 4, "transport_maps, c.example: gw.example is no transport"),
    ]


def test_what_an_override_names() -> None:
    found = said("", "2525 inet n - n - - smtpd -o content_filter=scan:here\n")
    assert found == [("error", "master.cf", 5, "content_filter: master.cf has no service scan")]


PIPE = "drop unix - n n - - pipe\n  flags=R user=nobody-here argv=/nonexistent/drop $recipient\n"


def test_a_pipe_that_nobody_uses_needs_nothing() -> None:
    assert said("", PIPE) == []


def test_what_a_pipe_that_is_used_needs() -> None:
    assert said("virtual_transport = drop\n", PIPE) == [
        ("error", "master.cf", 5, "service drop/unix: /nonexistent/drop is not there, or no program"),
        ("error", "master.cf", 5, "service drop/unix: there is no user nobody-here"),
    ]
    mistaken = "drop unix - n n - - pipe\n  flags=R user=nobody argv=/bin/cat $nobody\n"
    assert said("virtual_transport = drop\n", mistaken) == [
        ("error", "master.cf", 5, 'service drop/unix: unknown macro name: "nobody"'),
    ]
    fine = "drop unix - n n - - pipe\n  flags=R user=nobody argv=/bin/sh -c true\n"
    assert said("virtual_transport = drop\n", fine) == []


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    main_cf = f"queue_directory = {tmp_path}\nvirtual_transport = lmtp:unix:private/dovecot-lmtp\n"
    assert said(main_cf) == [
        ("warning", "main.cf", 2, f"virtual_transport: nothing is at {tmp_path}/private/dovecot-lmtp")
    ]
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "dovecot-lmtp").touch()
    assert said(main_cf) == []


def test_a_thousand_rows_with_one_mistake_are_one_finding(tmp_path: Path) -> None:
    (tmp_path / "transport").write_text("".join(f"d{n}.example slow:\n" for n in range(1000)))
    (tmp_path / "main.cf").write_text("transport_maps = hash:transport\n")
    (tmp_path / "master.cf").write_text(MASTER)
    assert [f.origin.line for f in transports.findings(load(tmp_path))] == [1]


def test_a_policy_server_that_is_not_there(tmp_path: Path) -> None:
    lists = "reject_unauth_destination, check_policy_service {}, check_policy_service unix:private/spf"
    main_cf = f"queue_directory = {tmp_path}\nsmtpd_recipient_restrictions = {lists}\n"
    spawn = "spf unix - n n - 0 spawn user=nobody argv=/bin/sh\n"
    for server in ("unix:private/grey", "{ unix:private/grey, timeout=9s }"):
        found = said(main_cf.format(server), spawn)
        assert found == [
            ("error", "main.cf", 2, f"smtpd_recipient_restrictions: no policy server is at {tmp_path}/private/{name}")
            for name in ("grey", "spf")
        ]
    (tmp_path / "private").mkdir()
    for name in ("grey", "spf"):
        (tmp_path / "private" / name).touch()
    assert said(main_cf.format("unix:private/grey"), spawn) == []
    assert said(main_cf.format("inet:127.0.0.1:10023"), spawn) == []
