"""Real programs that mail is delivered to: procmail, maildrop, Dovecot's LDA and LMTP server."""

import os
import pwd
import re
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.accounts import account_name
from tests.passable import passable
from tests.ports import free_port
from tests.whole import MASTER_CF, Gateway, running, until

DOVECOT_LDA = "/usr/lib/dovecot/dovecot-lda"
NEEDED = ("/usr/bin/procmail", "/usr/bin/maildrop", DOVECOT_LDA, "/usr/lib/dovecot/lmtp")
missing = os.geteuid() != 0 or not all(map(os.path.exists, NEEDED))
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(missing, reason="needs root, procmail, maildrop, dovecot-core, dovecot-lmtpd"),
]
JOE, ANN = USERS = (account_name("pwdelva"), account_name("pwdelvb"))
SERVICES = {
    "procmail": '/usr/bin/procmail -a "$EXTENSION"',
    "maildrop": '/usr/bin/maildrop -f "$SENDER"',
    "lda": f'{DOVECOT_LDA} -c {{base}}/lda.conf -f "$SENDER" -a "$RECIPIENT"',
}
DOVECOT = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot.log
protocols = lmtp
ssl = no
mail_location = maildir:~/Maildir
auth_username_format = %Ln
postmaster_address = postmaster@mx.example.com
recipient_delimiter = +
passdb {{
  driver = passwd
}}
userdb {{
  driver = passwd
}}
service lmtp {{
  unix_listener {base}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""
MESSAGE = b"From: Ann <ann@example.org>\r\nSubject: hi\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("homes")
    passable(base)
    for name in USERS:
        subprocess.run(["useradd", "--create-home", "--home-dir", base / name, name], check=True, capture_output=True)
        (base / name / ".procmailrc").write_text("MAILDIR=$HOME\n:0:\nprocmail-$1\n")
        (base / name / ".mailfilter").write_text('to "$HOME/maildropped"\n')
        (base / name / ".mailfilter").chmod(0o600)
        for file in (".procmailrc", ".mailfilter"):
            account = pwd.getpwnam(name)
            os.chown(base / name / file, account.pw_uid, account.pw_gid)
    try:
        yield base
    finally:
        for name in USERS:
            subprocess.run(["userdel", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def dovecot(homes: Path) -> Iterator[int]:
    port = free_port()
    (homes / "dovecot.conf").write_text(DOVECOT.format(base=homes, port=port))
    (homes / "lda.log").touch()
    (homes / "lda.log").chmod(0o666)
    (homes / "lda.conf").write_text(f"!include {homes}/dovecot.conf\nlog_path = {homes}/lda.log\n")
    process = subprocess.Popen(["dovecot", "-F", "-c", homes / "dovecot.conf"])
    try:
        until(lambda: (homes / "lmtp").exists(), 60, "dovecot listens")
        yield port
    finally:
        process.terminate()
        process.wait(60)
        log = homes / "dovecot.log"
        shutil.rmtree(homes / "run", ignore_errors=True)
        assert "Panic" not in (log.read_text() if log.exists() else "")


@pytest.fixture(scope="module")
def gateway(homes: Path, dovecot: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    rows = "".join(
        f"{name} unix - n n - - local\n  -o {{{{ mailbox_command = {command.format(base=homes)} }}}}\n"
        for name, command in SERVICES.items()
    )
    rows += f"unix unix - n n - - local\n  -o mailbox_transport=lmtp:unix:{homes}/lmtp\n"
    rows += f"inet unix - n n - - local\n  -o mailbox_transport=lmtp:inet:127.0.0.1:{dovecot}\n"
    rows += "mdpipe unix - n n - - pipe\n  flags=DRXhu user=" + JOE + " argv=/usr/bin/maildrop -f ${{sender}}\n"
    names = (*SERVICES, "unix", "inet", "mdpipe")
    base = tmp_path_factory.mktemp("delivery")
    settings = {
        "recipient_delimiter": "+",
        "transport_maps": "inline:{" + ", ".join(f"{{{n}.example={n}:}}" for n in names) + "}",
        "alias_maps": f"inline:{{ {{ team = {JOE}@unix.example, {ANN}@unix.example }} }}",
    }
    with running(Gateway(base, master_cf=MASTER_CF + rows, **settings)) as gateway:
        yield gateway


def deliver(gateway: Gateway, *recipients: str, expect: str = "sent", count: int = 1) -> list[str]:
    """Sends, and waits for so many log lines; they are returned."""
    before = len(gateway.log())
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.sendmail("sender@example.org", list(recipients), MESSAGE)

    def lines() -> list[str]:
        return re.findall(r"to=<.*status=\w+ .*", gateway.log()[before:])

    until(lambda: len(lines()) >= count, 60, gateway.log)
    assert all(f"status={expect} " in line for line in lines()), lines()
    return lines()


def test_procmail_gets_the_extension(gateway: Gateway, homes: Path) -> None:
    deliver(gateway, f"{JOE}+lists@procmail.example")
    content = (homes / JOE / "procmail-lists").read_text()
    assert content.startswith("From sender@example.org  ")
    assert f"\nDelivered-To: {JOE}+lists@procmail.example\n" in content
    assert content.endswith("\nbody\n\n")
    assert (homes / JOE / "procmail-lists").stat().st_uid == pwd.getpwnam(JOE).pw_uid
    deliver(gateway, f"{ANN}@procmail.example")
    assert (homes / ANN / "procmail-").read_text().count("\nbody\n") == 1


def test_maildrop(gateway: Gateway, homes: Path) -> None:
    deliver(gateway, f"{ANN}@maildrop.example")
    assert (homes / ANN / "maildropped").read_text().count("\nbody\n") == 1


def test_maildrop_by_pipe_as_debian_has_it(gateway: Gateway, homes: Path) -> None:
    (line,) = deliver(gateway, f"{JOE}@mdpipe.example")
    assert "relay=mdpipe" in line
    assert "(delivered via mdpipe service)" in line


def test_dovecots_lda(gateway: Gateway, homes: Path) -> None:
    deliver(gateway, f"{JOE}@lda.example")
    until(lambda: len(list((homes / JOE / "Maildir/new").iterdir())) == 1, 60, "it is there")
    (file,) = (homes / JOE / "Maildir/new").iterdir()
    assert f"\nDelivered-To: {JOE}@lda.example\n" in file.read_text()


@pytest.mark.parametrize("service", ["unix", "inet"])
def test_dovecots_lmtp_server(gateway: Gateway, homes: Path, service: str) -> None:
    new = homes / ANN / "Maildir" / "new"
    before = len(list(new.iterdir())) if new.exists() else 0
    (line,) = deliver(gateway, f"{ANN}+x@{service}.example")
    assert "Saved)" in line
    assert len(list(new.iterdir())) == before + 1
    queue_id = re.findall(r"(\w+): passing <", gateway.log())[-1]
    until(lambda: f"{queue_id}: removed" in gateway.log())
    assert len(re.findall(rf"{queue_id}: to=<", gateway.log())) == 1


def test_what_an_alias_became_goes_to_dovecot_too(gateway: Gateway, homes: Path) -> None:
    boxes = [homes / name / "Maildir" / "new" for name in USERS]
    before = [len(list(box.iterdir())) if box.exists() else 0 for box in boxes]
    deliver(gateway, "team@unix.example", count=3)
    until(lambda: [len(list(box.iterdir())) for box in boxes if box.exists()] == [n + 1 for n in before], 60, "both")
    text = sorted(boxes[0].iterdir(), key=lambda path: path.stat().st_mtime)[-1].read_text()
    assert "\nDelivered-To: team@unix.example\n" in text


def test_who_has_no_account_is_dovecots_to_refuse(gateway: Gateway) -> None:
    (line, *_) = deliver(gateway, "nosuch@unix.example", expect="bounced")
    assert "User doesn't exist" in line
