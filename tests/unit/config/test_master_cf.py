import pytest

from postwarden.config.embedded import MASTER_CF
from postwarden.config.errors import ConfigError
from postwarden.config.master_cf import parse_master_cf

SUBMISSION = b"""\
submission inet n       -       y       -       10       smtpd
  -o syslog_name=postfix/submission
#  -o commented=out
  -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject }
  -v
uucp unix - n n - - pipe flags=Fqhu user=uucp argv=uux -r -o x -a$sender
"""


def test_services_with_overrides_and_arguments() -> None:
    services, problems = parse_master_cf(SUBMISSION, "master.cf")
    submission, uucp = services
    assert (submission.key, submission.maxproc, submission.command) == ("submission/inet", "10", "smtpd")
    assert {n: e.value for n, e in submission.overrides.items()} == {
        "syslog_name": "postfix/submission",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
    }
    assert submission.arguments == ("-v",)
    assert str(submission.origin) == "master.cf:1"
    assert uucp.arguments == ("flags=Fqhu", "user=uucp", "argv=uux", "-r", "-o", "x", "-a$sender")
    assert uucp.overrides == {}
    assert problems == []


def test_the_last_of_two_services_counts_and_is_said() -> None:
    text = b"smtp unix - - n - - smtp\nsmtp inet n - n - - smtpd\nsmtp unix - - n - 5 smtp\n"
    services, problems = parse_master_cf(text, "m")
    assert [(s.key, s.maxproc) for s in services] == [("smtp/unix", "5"), ("smtp/inet", "-")]
    assert "m:3" in str(problems[0])


def test_the_built_in_services_parse() -> None:
    services, problems = parse_master_cf(MASTER_CF, "")
    assert {"smtp/inet", "smtp/unix", "local/unix", "error/unix", "relay/unix"} <= {s.key for s in services}
    assert problems == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b"smtp inet n - n - smtpd", "field count"),
        (b"smtp tcp n - n - - smtpd", "type"),
        (b"smtp inet x - n - - smtpd", "private"),
        (b"smtp inet n - n 5! - smtpd", "wakeup"),
        (b"smtp inet n - n - many smtpd", "maxproc"),
        (b"smtp inet n - n - - smtpd -o", "name=value"),
        (b"smtp inet n - n - - smtpd -o foo", '"="'),
        (b"smtp inet n - n - - smtpd -o {foo", "'}'"),
        (b"smtp inet n - n - - smtpd -o {foo=a}b", "after '}'"),
    ],
)
def test_bad_entries_name_file_and_line(line: bytes, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_master_cf(b"# x\n" + line + b"\n", "master.cf")
    assert str(caught.value).startswith("master.cf:2: ")
    assert word in str(caught.value)


def test_options_are_read_as_getopt_reads_them() -> None:
    line = b"smtp inet n - n - - smtpd -vo stress=yes -oa=1 -o{b=2 3} -v -o {c={d e}} x -o e=f { g h }\n"
    (service,), _ = parse_master_cf(line, "m")
    assert {name: entry.value for name, entry in service.overrides.items()} == {
        "stress": "yes", "a": "1", "b": "2 3", "c": "{d e}",
    }  # fmt: skip
    assert service.arguments == ("-v", "-v", "x", "-o", "e=f", "g h")


def test_an_override_is_known_by_its_own_line() -> None:
    text = (
        b"587 inet n - n - - smtpd\n"
        b"# -o a=no\n"
        b"  -o a=1 -o b=2\n"
        b"\n"
        b"  -o { a = 3 }\n"
        b"  -o cc=a=4\n"
        b"25 inet n - n - - smtpd -o a=5\n"
    )
    (submission, smtp), _ = parse_master_cf(text, "master.cf")
    assert [str(submission.overrides[name].origin) for name in ("a", "b", "cc")] == [
        "master.cf:5", "master.cf:3", "master.cf:6",
    ]  # fmt: skip
    assert str(smtp.overrides["a"].origin) == "master.cf:7"
