"""Two transports whose programs hang, with more mail than there are places for it."""

import os
import pwd
import smtplib
from pathlib import Path

import pytest
from tests.whole import MASTER_CF, Gateway, running, until

pytestmark = [pytest.mark.slow, pytest.mark.long]
ME = pwd.getpwuid(os.geteuid()).pw_name
USER = "nobody" if os.geteuid() == 0 else ME


def test_local_mail_goes_on(tmp_path: Path) -> None:
    for directory in (tmp_path, *tmp_path.parents[:2]):
        if os.geteuid() == 0:
            directory.chmod(directory.stat().st_mode | 0o055)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun").chmod(0o777)
    (tmp_path / "hang").write_text(
        f"#!/bin/sh\n: > {tmp_path}/begun/$$\nwhile [ ! -e {tmp_path}/go ]; do sleep 1; done\n"
    )
    (tmp_path / "hang").chmod(0o755)
    rows = "".join(f"{name} unix - n n - - pipe\n  user={USER} argv={tmp_path}/hang\n" for name in ("one", "two"))
    settings = {
        "transport_maps": "inline:{.one.example=one:, .two.example=two:}",
        "relay_domains": "one.example two.example",
    }
    with running(Gateway(tmp_path, 0, MASTER_CF + rows, **settings)) as gateway:
        try:
            with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
                for number in range(60):
                    recipients = [f"a@n{number}.{name}.example" for name in ("one", "two")]
                    client.sendmail("", recipients, "Subject: x\r\n\r\nx\r\n")
                until(lambda: len(list((tmp_path / "begun").iterdir())) >= 100, 120)
                client.sendmail("", [f"{USER}@mx.example.com"], "Subject: x\r\n\r\nx\r\n")
            until(lambda: "status=sent (delivered to mailbox)" in gateway.log(), 60)
            assert "status=sent (delivered via" not in gateway.log()
        finally:
            (tmp_path / "go").touch()
        until(lambda: gateway.log().count("status=sent (delivered via") == 120, 120)
