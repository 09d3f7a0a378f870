import os
from pathlib import Path

from postwarden.config.settings import load
from postwarden.tables.check import problems


def said(directory: Path, main_cf: str) -> list[str]:
    (directory / "main.cf").write_text("compatibility_level = 3.6\nalias_maps =\nalias_database =\n" + main_cf)
    return [str(problem).replace(f"{directory}/", "") for problem in problems(load(directory))]


def test_a_table_that_does_not_parse_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "transport").write_text("example.com smtp:[x]\nbad\n")
    (only,) = said(tmp_path, "transport_maps = hash:transport\n")
    assert only == "warning: transport:2: expected format: key whitespace value -- ignoring this line"


def test_a_bad_name_is_named_by_main_cf(tmp_path: Path) -> None:
    (only,) = said(tmp_path, "transport_maps = frob:transport\n")
    assert only.startswith("error: main.cf:4: parameter transport_maps: ")
    (only,) = said(tmp_path, "mynetworks = 10.0.0.1/8\n")
    assert only.startswith("warning: main.cf:4: mynetworks: non-null host address bits")


def test_a_missing_file_is_a_warning(tmp_path: Path) -> None:
    (only,) = said(tmp_path, f"transport_maps = hash:{tmp_path}/nosuch\n")
    assert only.startswith("warning: main.cf:4: parameter transport_maps: nosuch: can't be read")


def test_tables_within_restrictions_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "access").write_text("/(/ REJECT\n")
    (only,) = said(tmp_path, f"smtpd_client_restrictions = check_client_access regexp:{tmp_path}/access, permit\n")
    assert only.startswith("warning: access:1: ")
    assert only.endswith("what this line would decide is put off")


def test_duplicates_and_old_indexes_are_warnings(tmp_path: Path) -> None:
    from postwarden.tables.writing import IndexWriter

    (tmp_path / "map").write_text("a 1\nA 2\n")
    (only,) = said(tmp_path, "transport_maps = hash:map\n")
    assert only == 'warning: map:2: duplicate entry: "a"'
    writer = IndexWriter(str(tmp_path / "map"))
    writer.add([(b"a", b"1", 1)], print)
    writer.publish()
    later = (tmp_path / "map.lmdb").stat().st_mtime + 10
    os.utime(tmp_path / "map", (later, later))
    (only,) = said(tmp_path, "transport_maps = hash:map\n")
    assert "older than its source" in only


def test_overrides_of_a_service_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "master.cf").write_text("smtp inet n - n - - smtpd -o virtual_alias_maps=frob:x\n")
    (only,) = said(tmp_path, "")
    assert only.startswith("error: master.cf:1: parameter virtual_alias_maps")


def test_what_is_not_asked_of_anybody_is_said(tmp_path: Path) -> None:
    (only,) = said(tmp_path, "mailbox_command_maps = tcp:127.0.0.1:1\n")
    assert "tcp:127.0.0.1:1 map is not allowed for security sensitive data" in only
    mailboxes = "virtual_mailbox_maps = socketmap:inet:127.0.0.1:1:x\n"
    assert len(said(tmp_path, mailboxes)) == 1
    assert said(tmp_path, mailboxes + "virtual_transport = lmtp:unix:private/lmtp\n") == []


def test_a_table_that_is_not_approved_is_said(tmp_path: Path) -> None:
    local = "local_recipient_maps =\nvirtual_alias_maps = proxy:inline:{a=b}\n"
    (only,) = said(tmp_path, f"{local}proxy_read_maps =\n")
    assert 'proxymap service is not configured for table "inline:{a=b}"' in only
    assert said(tmp_path, local) == []


def test_a_policy_server_is_no_table(tmp_path: Path) -> None:
    lists = "reject_unauth_destination, check_policy_service unix:private/policy, check_client_access unix:private/x"
    (only,) = said(tmp_path, f"smtpd_recipient_restrictions = {lists}\n")
    assert "unix:private/x" in only


def test_a_list_of_aliases_that_is_none_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("alias_maps = {\n")
    (only,) = problems(load(tmp_path))
    assert (only.severity, only.origin.line) == ("error", 1)


def test_a_table_that_cannot_be_opened_stops_the_start_where_that_is_wanted(tmp_path: Path) -> None:
    fatal = "daemon_table_open_error_is_fatal = yes\n"
    (only,) = said(tmp_path, f"{fatal}transport_maps = hash:{tmp_path}/nosuch\n")
    assert only.startswith("error: main.cf:5: parameter transport_maps: nosuch: can't be read")
    assert only.endswith(" (daemon_table_open_error_is_fatal = yes)")
    (only,) = said(tmp_path, f"{fatal}smtpd_client_restrictions = check_client_access hash:{tmp_path}/nosuch\n")
    assert only.startswith("error: main.cf:5: ")
