"""A whole gateway whose mail goes to programs: they fail, hang, and lose the agent that started them."""

import os
import pwd
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.passable import passable
from tests.whole import MASTER_CF, Gateway, running, until

ME = pwd.getpwuid(os.geteuid()).pw_name
USER = "nobody" if os.geteuid() == 0 else ME
ROWS = """\
slowly unix - n n - - pipe
  user={user} argv={base}/slowly $recipient
refuse unix - n n - - pipe
  user={user} argv=/bin/sh -c {{{{echo no such box; exit 67}}}}
onward unix - n n - - local
  -o mailbox_transport=refuse:
broken unix - n n - - pipe
  user=nosuchuserhere argv=/bin/true
"""
SLOWLY = """\
#!/bin/sh
echo "$1" >> {base}/begun
while [ ! -e {base}/go ]; do sleep 0.05; done
cat > /dev/null
echo "$1" >> {base}/done
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    base = tmp_path_factory.mktemp("programs")
    (base / "slowly").write_text(SLOWLY.format(base=base))
    (base / "slowly").chmod(0o755)
    for name in ("begun", "done"):
        (base / name).touch()
        (base / name).chmod(0o666)
    passable(base)
    names = ("slowly", "refuse", "onward", "broken")
    transports = ", ".join(f"{{{name}.example={name}:}}" for name in names)
    rows = ROWS.format(user=USER, base=base)
    settings = {"transport_maps": f"inline:{{{transports}}}", "minimal_backoff_time": "1s", "queue_run_delay": "1s"}
    with running(Gateway(base, master_cf=MASTER_CF + rows, **settings)) as gateway:
        yield gateway


def send(gateway: Gateway, recipient: str) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.sendmail(f"{ME}@mx.example.com", [recipient], b"Subject: x\r\n\r\nbody\r\n")


def lines(path: Path) -> list[str]:
    return path.read_text().split()


def test_an_agent_that_dies_loses_no_mail(gateway: Gateway) -> None:
    send(gateway, "a@slowly.example")
    until(lambda: lines(gateway.base / "begun") == ["a@slowly.example"])
    assert gateway.kill("agent")
    until(lambda: len(lines(gateway.base / "begun")) == 2)
    (gateway.base / "go").touch()
    until(lambda: "status=sent (delivered via slowly service)" in gateway.log())
    # The one that was orphaned went on; a program may see a message twice, and never none.
    assert set(lines(gateway.base / "done")) == {"a@slowly.example"}


@pytest.mark.parametrize("service", ["refuse", "onward"])
def test_the_sender_hears_what_a_program_said(gateway: Gateway, service: str) -> None:
    send(gateway, f"b@{service}.example")
    box = gateway.base / "mail" / ME
    until(lambda: box.exists() and f"b@{service}.example" in box.read_text())
    text = box.read_text().replace("\n    ", " ")
    assert f"Final-Recipient: rfc822; b@{service}.example\n" in text
    assert "Diagnostic-Code: x-unix; no such box" in text
    assert "the program ended like this" in text


def test_an_entry_that_can_not_be_used_keeps_its_mail(gateway: Gateway) -> None:
    send(gateway, "c@broken.example")
    until(lambda: "status=deferred (unknown mail transport error)" in gateway.log())
    assert "master.cf:" in gateway.log()
    assert "unknown username: nosuchuserhere" in gateway.log()
    entry = (gateway.etc / "master.cf").read_text().replace("user=nosuchuserhere", f"user={USER}")
    (gateway.etc / "master.cf").write_text(entry)
    gateway.command("reload")
    gateway.command("flush")
    until(lambda: "status=sent (delivered via broken service)" in gateway.log())
