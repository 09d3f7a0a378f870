import json
from pathlib import Path

import pytest

from postwarden.cli import postconf

Captured = pytest.CaptureFixture[str]
MAIN = """\
compatibility_level = 3.6
myhostname = mx.example.com
mydestination = $ours, localhost,
  ${nothere}
ours = example.com
nosuch = x
staff_server_host = ldap.example.com
staff_typo = 1
alias_maps = proxy:ldap:staff
smtpd_restriction_classes = strict, loose
strict = permit
relay_destination_recipient_limit = 5
"""
MASTER = """\
smtp inet n - y - - smtpd
  -o { smtpd_banner = $who is here } -vo who=she -o typo=1
relay unix - - n - - smtp
pipe unix - n n - 10 pipe flags=R user=nobody argv=/bin/true ${nexthop}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    (tmp_path / "main.cf").write_text(MAIN)
    (tmp_path / "master.cf").write_text(MASTER)
    return tmp_path


def run(capsys: Captured, *words: str) -> tuple[str, str, int]:
    code = postconf.main("postconf", list(words))
    out, err = capsys.readouterr()
    return out, err, code


def test_what_is_named_is_shown(here: Path, capsys: Captured) -> None:
    out, err, code = run(capsys, "-h", "mydomain", "smtpd_helo_required", "nosuch")
    assert (out, code) == ("example.com\nno\n", 0)
    assert "postconf: warning: nosuch: unknown parameter\n" in err


def test_overrides_are_seen_by_other_values(here: Path, capsys: Captured) -> None:
    assert run(capsys, "-xo", "stress=yes", "smtpd_timeout")[0] == "smtpd_timeout = 10s\n"


def test_what_is_set_is_shown_without_what_nobody_uses(here: Path, capsys: Captured) -> None:
    out, err, _ = run(capsys, "-nH")
    assert out.split() == [
        "alias_maps", "compatibility_level", "config_directory", "mydestination", "myhostname", "ours",
        "relay_destination_recipient_limit", "smtpd_restriction_classes", "staff_server_host", "strict",
    ]  # fmt: skip
    assert sorted(err.splitlines()) == [
        f"postconf: warning: {here}/main.cf: undefined parameter: loose",
        f"postconf: warning: {here}/main.cf: undefined parameter: nothere",
        f"postconf: warning: {here}/main.cf: unused parameter: nosuch=x",
        f"postconf: warning: {here}/main.cf: unused parameter: staff_typo=1",
        f"postconf: warning: {here}/master.cf: unused parameter: typo=1",
    ]
    assert run(capsys, "-nq")[1] == ""


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("user", "ours staff_server_host strict"),
        ("service", "relay_destination_recipient_limit"),
        ("service, user", "ours relay_destination_recipient_limit staff_server_host strict"),
    ],
)
def test_classes(here: Path, capsys: Captured, chosen: str, names: str) -> None:
    assert run(capsys, "-nHC", chosen)[0].split() == names.split()


def test_defaults_need_no_main_cf(here: Path, capsys: Captured) -> None:
    (here / "main.cf").unlink()
    out, err, code = run(capsys, "-d", "mydestination", "pipe_time_limit", "ours")
    assert out == "mydestination = $myhostname, localhost.$mydomain, localhost\npipe_time_limit = $command_time_limit\n"
    assert (err, code) == ("postconf: warning: ours: unknown parameter\n", 0)
    assert run(capsys, "-n") == ("", f"postconf: fatal: open {here}/main.cf: No such file or directory\n", 1)


def test_entries_of_master_cf(here: Path, capsys: Captured) -> None:
    assert run(capsys, "-M", "smtp")[0] == (
        "smtp       inet  n       -       y       -       -       smtpd "
        "-o {smtpd_banner=$who is here} -v -o who=she -o typo=1\n"
    )
    assert run(capsys, "-Mxf", "smtp/inet")[0].splitlines()[1:] == [
        "    -o {smtpd_banner=she is here}",
        "    -v",
        "    -o who=she",
        "    -o typo=1",
    ]
    assert 'unmatched request: "nosuch"' in run(capsys, "-M", "nosuch")[1]


def test_columns_and_settings_of_master_cf(here: Path, capsys: Captured) -> None:
    assert run(capsys, "-F", "*/*/chroot")[0] == "smtp/inet/chroot = y\nrelay/unix/chroot = n\npipe/unix/chroot = n\n"
    assert run(capsys, "-Fh", "pipe/unix/command")[0] == "pipe flags=R user=nobody argv=/bin/true ${nexthop}\n"
    assert run(capsys, "-P")[0] == (
        "smtp/inet/smtpd_banner = $who is here\nsmtp/inet/typo = 1\nsmtp/inet/who = she\n"
    )  # fmt: skip
    assert run(capsys, "-Pxh", "smtp/inet/smtpd_banner")[0] == "she is here\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-nd"], "specify one of -d -n"),
        (["-MP"], "specify one of -M -P"),
        (["-Mh"], "with option -M, do not specify -h"),
        (["-a", "-n"], "with option -a, do not specify -n"),
        (["-x", "a=b"], "specify one of -e -x"),
        (["-e"], "-e requires name=value argument"),
        (["-X"], "missing service argument"),
        (["-M", "a/b/c"], "-M option requires service_name[/type]"),
        (["-F", "smtp/inet/nosuch"], 'invalid service attribute name: "nosuch"'),
        (["-C", "nosuch"], 'unknown -C option value "nosuch" in "nosuch"'),
        (["-o", "a b=x"], "invalid parameter override: a b=x: missing '=' after attribute name"),
        (["-b", "-t"], "specify one of -b and -t"),
        (["-b", "x", "y"], "options -b and -t require at most one template file"),
    ],
)
def test_a_wrong_command_line_is_told(here: Path, capsys: Captured, words: list[str], text: str) -> None:
    out, err, code = run(capsys, *words)
    assert (out, code) == ("", 1)
    assert err.endswith(f"postconf: fatal: {text}\n")


@pytest.mark.parametrize(
    ("main", "master", "text"),
    [
        ("bad\n", "", "main.cf, line 1: missing '=' after attribute name: \"bad\""),
        ("smtpd_banner = ${x\n", "", "macro processing error"),
        ("a = $b\nb = $a\nsmtpd_banner = $a\n", "", "macro processing error"),
        ("", "smtp inet\n", "bad field count"),
        ("", "smtp tcp - - - - - smtpd\n", 'invalid type field "tcp" in "smtp tcp - - - - - smtpd"'),
    ],
)
def test_files_that_cannot_be_read_are_told(here: Path, capsys: Captured, main: str, master: str, text: str) -> None:
    (here / "main.cf").write_text(main)
    (here / "master.cf").write_text(master)
    out, err, code = run(capsys, "-n")
    assert (out, code) == ("", 1)
    assert text in err


def test_json_is_an_object_a_line(here: Path, capsys: Captured) -> None:
    rows = [json.loads(line) for line in run(capsys, "-nj")[0].splitlines()]
    assert {"name": "myhostname", "value": "mx.example.com"} in rows
    (row,) = (json.loads(line) for line in run(capsys, "-Mj", "relay")[0].splitlines())
    assert (row["service"], row["type"], row["command"]) == ("relay", "unix", "smtp")


def test_lists(here: Path, capsys: Captured) -> None:
    assert run(capsys, "-l")[0] == "flock\nfcntl\ndotlock\n"
    assert {"hash", "regexp", "static"} <= set(run(capsys, "-m")[0].split())
    assert run(capsys, "-T", "run-version")[0].startswith("OpenSSL ")
    assert run(capsys, "-T", "x")[1:] == ("postconf: warning: unknown 'postconf -T' mode: x\n", 1)


def test_a_terminal_is_not_played_with(here: Path, capsys: Captured) -> None:
    (here / "main.cf").write_bytes(b"typo = \x1b[2J\xff\n")
    assert "unused parameter: typo=?[2J?" in run(capsys, "-n")[1]


def test_main_cf_is_changed(here: Path, capsys: Captured) -> None:
    assert run(capsys, "mydomain = example.org", "ours=") == ("", "", 0)
    text = (here / "main.cf").read_text()
    assert text == MAIN.replace("ours = example.com\n", "ours = \n") + "mydomain = example.org\n"
    assert run(capsys, "-#", "mydestination") == ("", "", 0)
    assert "#mydestination = $ours, localhost,\n#  ${nothere}\n" in (here / "main.cf").read_text()
    assert run(capsys, "-X", "mydomain") == ("", "", 0)
    assert "mydomain" not in (here / "main.cf").read_text()


def test_master_cf_is_changed(here: Path, capsys: Captured) -> None:
    assert run(capsys, "-P", "smtp/inet/typo=2", "nosuch/unix/a=b") == (
        "",
        'postconf: warning: unmatched service_name/type: "nosuch/unix/a=b"\n',
        0,
    )
    assert run(capsys, "-Ph", "smtp/inet/typo")[0] == "2\n"
    assert run(capsys, "-F", "*/unix/chroot=y")[2] == 0
    assert run(capsys, "-Fh", "*/*/chroot")[0] == "y\ny\ny\n"
    assert run(capsys, "-MX", "relay/unix")[2] == 0
    assert run(capsys, "-M", "new/unix=new unix - - n - - lmtp")[2] == 0
    assert run(capsys, "-FhH")[2] == 1
    assert run(capsys, "-Fh", "*/*/service")[0] == "smtp\npipe\nnew\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-e", "a"], "missing '=' after attribute name: \"a\""),
        (["=x"], 'missing attribute name: "=x"'),
        (["a=b\nc"], "-e, -X, or -# accepts no multi-line input"),
        (["-X", "a", "b=c"], "-X or -# requires parameter names without value"),
        (["-X", "a=b"], "specify one of -e -X"),
        (["-M", "smtp=x"], "-Me, -MX or -M# requires service_name/type"),
        (["-M", "smtp/inet=x"], 'bad field count: "smtp/inet=x"'),
        (["-F", "smtp/inet/chroot=q"], 'invalid chroot field "q" in "q"'),
        (["-F", "smtp/inet/nosuch=q"], 'invalid service attribute name: "nosuch"'),
        (["-P", "smtp/inet=q"], "-Pe or -PX requires service_name/type/parameter"),
        (["-P", "smtp/inet/a=b c"], "-Pe does not accept whitespace in parameter value"),
        (["-P", "smtp/inet/*=b"], "-Pe does not accept wild-card parameter name"),
        (["-P#", "smtp/inet/a"], "with option -P, do not specify -#"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(here: Path, capsys: Captured, words: list[str], text: str) -> None:
    assert run(capsys, *words) == ("", f"postconf: fatal: {text.replace(chr(10), '?')}\n", 1)
    assert ((here / "main.cf").read_text(), (here / "master.cf").read_text()) == (MAIN, MASTER)


def test_a_missing_file_is_not_made(here: Path, capsys: Captured) -> None:
    (here / "main.cf").unlink()
    text = f"postconf: fatal: open {here}/main.cf for reading: No such file or directory\n"
    assert run(capsys, "a=b") == ("", text, 1)
    assert [path.name for path in here.iterdir()] == ["master.cf"]
