"""Mailboxes and log lines: ours beside those of real Postfix's local(8) and virtual(8), from the same mail."""

import os
import re
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.accounts import account_name, accounts
from tests.passable import passable
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import Gateway, running, until

pytestmark = [pytest.mark.postfix, pytest.mark.slow, needs_postfix]

USERS = tuple(account_name(f"pwtest{letter}") for letter in "abcdefg")
A, B, LOCKED, LINKED, FOREIGN, AWAY, SELF = USERS
ALIASES = f"""\
both: {A}, {B}
spaced: {A} {B}
phrase: Joe User <{A}>, (a comment) {B} (other)
friends: group: {A}, {B};
self: self
{B}: {B}
loop1: loop2
loop2: loop1
backslash: \\{B}
empty: ""
UPPER: {A}
file: {{dir}}/files/out
maildir: {{dir}}/files/outdir/
null: /dev/null
full: /dev/full
executable: {{dir}}/program
notdir: {{dir}}/program/x
list: :include:{{dir}}/list
badlist: :include:{{dir}}/worldly
nolist: :include:{{dir}}/none
relative: :include:list
listed: :include:{{dir}}/filelist
owned: {A}, {B}
owner-owned: {A}
ext+x: {A}
"""
RECIPIENTS = (
    A, f"{A}@mx.example.com", A.upper(), f"{A}+ext", f"{A}+a/b", B, "both", "spaced", "phrase", "friends", "self",
    "backslash", "empty", "UPPER", "upper", "file", "maildir", "null", "full", "executable", "notdir",
    "list", "badlist", "nolist", "relative", "listed", "owned", "ext+x", "ext", "nosuch", "postmaster",
    "mailer-daemon", AWAY, f"{AWAY}+news", SELF, f"{SELF}+open", LOCKED, LINKED, FOREIGN,
    "a@virtual.example", "B@virtual.example", "a+x@virtual.example",
    "deny@virtual.example", "root@virtual.example", "nouid@virtual.example", "no@virtual.example",
)  # fmt: skip
MESSAGE = (
    b"From: Ann <ann@example.org>\r\nSubject: hi\r\nMessage-Id: <1@example.org>\r\n"
    b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n"
    b"From me\r\n>From you\r\nfrom\r\n From\r\n..dot\r\n\xe9\r\n\r\nFrom " + b"x" * 5000 + b"\r\n\r\n"
)


@pytest.fixture(scope="module")
def users() -> Iterator[None]:
    with accounts(*USERS):
        yield


def furnish(base: Path) -> dict[str, str]:
    """Aliases, lists and mailboxes below `base`, and the main.cf that names them."""
    base.mkdir()
    passable(base)
    (base / "aliases").write_text(ALIASES.replace("{dir}", str(base)))
    (base / "list").write_text(f"{A}\n{B}, {A}\n")
    (base / "worldly").write_text(f"{A}\n")
    (base / "worldly").chmod(0o666)
    (base / "filelist").write_text("/tmp/x\n")
    (base / "program").write_text("#!/bin/sh\n")
    (base / "program").chmod(0o777)
    for name, mode in (("spool", 0o2775), ("files", 0o777), ("virtual", 0o777)):
        (base / name).mkdir()
        (base / name).chmod(mode)
    os.chown(base / "spool", -1, 8)
    forward_files(base / "forward")
    (base / "virtual" / "locked").mkdir()
    (base / "spool" / f"{LOCKED}.lock").touch()
    (base / "spool" / FOREIGN).mkdir()
    os.symlink(base / "nowhere", base / "spool" / LINKED)
    return {
        "alias_maps": f"hash:{base}/aliases",
        "mail_spool_directory": f"{base}/spool",
        "recipient_delimiter": "+",
        "local_recipient_maps": "",
        "smtpd_reject_unlisted_recipient": "no",
        "deliver_lock_attempts": "4",
        "forward_path": f"{base}/forward/$user$recipient_delimiter$extension, {base}/forward/$user",
        "virtual_mailbox_domains": "virtual.example",
        "virtual_mailbox_base": f"{base}/virtual",
        "virtual_mailbox_maps": f"texthash:{base}/mailboxes",
        "virtual_uid_maps": f"texthash:{base}/uids",
        "virtual_gid_maps": "static:5000",
        "virtual_minimum_uid": "100",
    }


def forward_files(directory: Path) -> None:
    directory.mkdir()
    for name, text, mode in (
        (AWAY, f"# away\n{A}, {B}\n\\{AWAY}\n", 0o644),
        (f"{AWAY}+news", f"{directory.parent}/files/news\n", 0o644),
        (SELF, SELF, 0o644),
        (f"{SELF}+open", A, 0o666),
    ):
        (directory / name).write_text(text)
        (directory / name).chmod(mode)


def tables(base: Path) -> None:
    names = ("a", "b", "deny", "root", "nouid")
    places = ("a/", "b", "locked/x/", "r", "z")
    uids = ("5000", "5000", "5000", "0", "")
    lines = [f"{n}@virtual.example {p}\n" for n, p in zip(names, places, strict=True)]
    (base / "mailboxes").write_text("".join(lines))
    (base / "uids").write_text("".join(f"{n}@virtual.example {u}\n" for n, u in zip(names, uids, strict=True) if u))


def send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        for recipient in RECIPIENTS:
            client.sendmail("sender@example.org", [recipient], MESSAGE)


def outcomes(log: str) -> dict[str, list[str]]:
    """By the address that the client gave: what became of it, with everything of the moment taken out."""
    found: dict[str, list[str]] = {}
    for line in log.splitlines():
        match = re.search(r"/(?:local|virtual)\[\d+\]: \w+: to=<(.*?)>,(?: orig_to=<(.*?)>,)? relay=(\w+), (.*)", line)
        if match is None:
            continue
        to, original, relay, rest = match.groups()
        code, text = re.findall(r"dsn=(\S+), status=(.*)", rest)[0]
        text = re.sub(r"forwarded as \w+", "forwarded as ID", re.sub(r"\d+\.P\d+\.\S+", "NAME", text))
        found.setdefault(original or to, []).append(f"{to} {relay} {code} {text}")
    return {key: sorted(values) for key, values in found.items()}


def plain(content: bytes) -> bytes:
    """A mailbox without ids and dates."""
    content = re.sub(rb"(?m)^(From \S+ ) .*$", rb"\1", content)
    content = re.sub(rb"\bid [0-9A-Za-z]+", b"id ID", content)
    content = re.sub(rb"; \w{3}, +\d+ \w{3} \d{4} [0-9:]+ [+-]\d{4} \(\w+\)", b"; DATE", content)
    return re.sub(rb"(?m)^from \[?\S+ \(\S+ \[127.0.0.1\]\)", b"from CLIENT", content)


def mailboxes(base: Path) -> dict[str, list[bytes]]:
    """Each file below the places of mail: its messages, sorted, since one may overtake another; and its rights."""
    found: dict[str, list[bytes]] = {}
    for place in ("spool", "files", "virtual"):
        for path in sorted((base / place).rglob("*")):
            if not path.is_file() or path.name.endswith(".lock"):
                continue
            name = str(path.relative_to(base))
            name = re.sub(r"new/.*", "new", name)
            messages = re.split(rb"(?m)^(?=From sender|From owner|From MAILER)", plain(path.read_bytes()))
            state = path.stat()
            rights = f"{state.st_mode:o} {state.st_uid} {state.st_gid}".encode()
            found.setdefault(name, []).extend([rights, *messages])
    return {name: sorted(messages) for name, messages in found.items()}


def test_the_same_as_postfix(tmp_path: Path, users: None) -> None:
    logs, boxes = {}, {}
    for who in ("postfix", "postwarden"):
        base = tmp_path / f"at-{who}"
        settings = furnish(base)
        tables(base)
        (tmp_path / who).mkdir()
        if who == "postfix":
            real = RealPostfix(tmp_path / who, **settings)
            subprocess.run(["postalias", "-c", real.etc, settings["alias_maps"]], check=True, timeout=30)
            real.start()
            try:
                log = exchange(real.port, real.log)
            finally:
                real.stop()
        else:
            with running(Gateway(tmp_path / who, **settings)) as gateway:
                log = exchange(gateway.port, gateway.log)
        logs[who] = {k: [v.replace(str(base), "DIR") for v in values] for k, values in outcomes(log).items()}
        boxes[who] = {k: [v.replace(str(base).encode(), b"DIR") for v in vs] for k, vs in mailboxes(base).items()}
    assert logs["postwarden"] == logs["postfix"]
    assert boxes["postwarden"].keys() == boxes["postfix"].keys()
    for name, messages in boxes["postfix"].items():
        assert boxes["postwarden"][name] == messages, name


def exchange(port: int, log: "object") -> str:
    send(port)
    text = ""

    def settled() -> bool:
        nonlocal text
        text = log()  # type: ignore[operator]
        queued = set(re.findall(r"/qmgr\[\d+\]: (\w+): from=", text))
        gone = set(re.findall(r": (\w+): removed", text))
        late = set(re.findall(r"/(?:local|virtual)\[\d+\]: (\w+): to=.* status=deferred", text))
        late |= set(re.findall(r"/(?:smtp|error)\[\d+\]: (\w+): to=.* status=deferred", text))
        return len(queued) >= len(RECIPIENTS) and queued <= gone | late

    until(settled, 60, "all is delivered")
    return text
