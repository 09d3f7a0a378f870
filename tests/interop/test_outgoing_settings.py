"""Settings of the sending side beside the real Postfix: the same servers, names and tables, the same log."""

import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.nameserver import NameServer, own_address
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import MASTER_CF, Gateway, Server, running, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

DNS = own_address()
BY_SERVICE = "u@srv.example"
"""Postfix 3.7 knows no SRV records."""
ZONE = """
best.example MX 10 mx.best.example
mx.best.example A 127.0.0.1
two.example MX 10 a.two.example
two.example MX 20 b.two.example
a.two.example A 127.0.0.3
b.two.example A 127.0.0.4
none.example MX 10 a.two.example
odd.example MX 10 b.two.example
alias.example CNAME real.example
real.example A 127.0.0.5
_submission._tcp.srv.example SRV 20 0 1 worse.srv.example
_submission._tcp.srv.example SRV 10 5 {port} better.srv.example
better.srv.example A 127.0.0.1
worse.srv.example A 127.0.0.9
"""


class Scripted(Server):
    """An SMTP server with a banner and answers of its own."""

    def __init__(self, banner: str = "220 sink.example ESMTP", **answers: str) -> None:
        self.banner, self.answers = banner, answers
        super().__init__()

    def _talk(self, stream: Any) -> None:
        def say(text: str) -> None:
            stream.write(text.encode() + b"\r\n")
            stream.flush()

        say(self.banner)
        while line := stream.readline():
            verb = line.split()[0].decode().upper()
            if verb == "DATA":
                say("354 go")
                while stream.readline() not in (b".\r\n", b""):
                    pass
                say("250 2.0.0 queued")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                usual = "250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME" if verb == "EHLO" else "250 2.0.0 Ok"
                say(self.answers.get(verb, usual))

    @property
    def at(self) -> str:
        return f"[127.0.0.1]:{self.port}"


REPLIES = r"""
/^550([- ].*)/ 450$1 for now
!/^([2-5][0-9][0-9]($|[- ]))/ 250-filler for garbage
"""
RECORDS = r"""
/^a\.two\.example\. / IGNORE
/^none\.example\. 300 IN MX 10 a\.two\.example\.$/ ignore
/^odd.* MX / WHAT
"""
STATUSES = r"""
/^2\S+ delivered to (mailbox|maildir)/ 2.1.9 put away
/^2\S+ delivered via/ 5.0.0 refused
/^5(\.1\.1 unknown user.*)/ 4$1
/^4\.4\.1 (connect.*)/ 4.9.9 nobody there: $1
"""
TRANSPORTS = {
    "replies": "smtp_reply_filter=pcre:{base}/replies",
    "noreplies": "smtp_reply_filter=fail:x",
    "keywords": "smtp_discard_ehlo_keyword_address_maps=inline:{{127.0.0.1=pipelining}}",
    "silent": "smtp_discard_ehlo_keyword_address_maps=inline:{{127.0.0.1=silent-discard}}",
    "nokeywords": "smtp_discard_ehlo_keyword_address_maps=fail:x",
    "general": "smtp_discard_ehlo_keywords=dsn,starttls",
    "wall": "smtp_pix_workaround_threshold_time=0 smtp_pix_workaround_delay_time=1",
    "wallmap": "smtp_pix_workaround_maps=inline:{{127.0.0.1=delay_dotcrlf}}",
    "wallodd": "smtp_pix_workaround_maps=inline:{{127.0.0.1=whatever}}",
    "records": "smtp_dns_reply_filter=pcre:{base}/records",
    "best": "best_mx_transport=discard:silently",
    "bestlocal": "best_mx_transport=local",
    "names": "smtp_cname_overrides_servername=yes",
    "services": "use_srv_lookup=submission",
}


class World:
    def __init__(self, base: Path) -> None:
        self.base = base
        for name, text in (("replies", REPLIES), ("records", RECORDS), ("statuses", STATUSES)):
            (base / name).write_text(text)
        self.plain, self.stars = Scripted(), Scripted("220 *********")
        self.refusing = Scripted(RCPT="550-5.1.1 one\r\n550 5.1.1 two")
        self.garbage = Scripted(MAIL="this is garbage\r\n250 2.1.0 fine")
        self.servers = (self.plain, self.stars, self.refusing, self.garbage)
        plain, stars, nobody = self.plain.at, self.stars.at, free_port()
        self.ways = {
            "refused.example": f"replies:{self.refusing.at}", "garbage.example": f"replies:{self.garbage.at}",
            "noreplies.example": f"noreplies:{plain}", "keywords.example": f"keywords:{plain}",
            "silent.example": f"silent:{plain}", "nokeywords.example": f"nokeywords:{plain}",
            "general.example": f"general:{plain}", "wall.example": f"smtp:{stars}", "wall2.example": f"wall:{stars}",
            "wallmap.example": f"wallmap:{stars}", "wallodd.example": f"wallodd:{stars}",
            "two.example": f"records:two.example:{nobody}", "none.example": f"records:none.example:{nobody}",
            "odd.example": f"records:odd.example:{nobody}",
            "best.example": "best:", "best2.example": "bestlocal:best.example", "best3.example": "smtp:best.example",
            "alias.example": f"smtp:[alias.example]:{self.plain.port}",
            "names.example": f"names:[alias.example]:{self.plain.port}", "prog.example": "prog:",
        }  # fmt: skip
        self.people = [f"u@{domain}" for domain in self.ways]
        self.ways["srv.example"] = "services:srv.example:submission"
        self.people += ["ann@v.example", "nobody@mx.example.com"]

    @property
    def settings(self) -> dict[str, str]:
        table = " ".join(f"{{{domain}={way}}}" for domain, way in self.ways.items())
        return {
            "transport_maps": f"inline:{{{table}}}", "relay_domains": " ".join(self.ways),
            "default_delivery_status_filter": f"pcre:{self.base}/statuses", "info_log_address_format": "internal",
            "delay_logging_resolution_limit": "0",
            "virtual_mailbox_domains": "v.example", "virtual_mailbox_base": f"{self.base}/mail",
            "virtual_mailbox_maps": "inline:{{ann@v.example=ann/}}", "virtual_uid_maps": "static:8",
            "virtual_gid_maps": "static:8", "virtual_minimum_uid": "1",
        }  # fmt: skip

    def master_cf(self) -> str:
        lines = "prog unix - n n - - pipe user=nobody argv=/bin/true\n"
        for name, options in TRANSPORTS.items():
            words = "".join(f" -o {word}" for word in options.format(base=self.base).split())
            lines += f"{name} unix - - n - - smtp{words}\n"
        return lines

    def send(self, port: int, *others: str) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            for person in (*self.people, *others):
                client.sendmail('"s p"@v.example', [person], "Subject: x\r\n\r\nhello\r\n")

    def close(self) -> None:
        for server in self.servers:
            server.close()


LINES = (
    "to=<", "replacing server reply", "enabling PIX", "ignoring DNS RR", "discarding EHLO", "passing <",
    "map lookup error for", "unknown DNS filter action", "bad status code", "connect to ", "from=<",
)  # fmt: skip


def lines(log: str) -> set[str]:
    """What both have to say, but for queue ids, times, and what only one of them does."""
    found = set()
    for line in log.splitlines():
        match = re.search(r"/(?:smtp|local|virtual|pipe|discard|qmgr)\[\d+\]: (.*)", line)
        if match is None or not any(words in match[1] for words in LINES):
            continue
        if BY_SERVICE in match[1]:
            continue
        text = re.sub(r"\b[0-9A-F]{8,}: |\b4[0-9A-Za-z]{9,}: ", "QID: ", match[1])
        text = re.sub(r"delay=[0-9.]+, delays=[0-9./]+", "delay=", text)
        text = re.sub(r"size=\d+", "size=", text)
        text = re.sub(r"(map lookup error for [0-9.]+): .*", r"\1", text)
        found.add(text)
    return found


def settled(log: str, people: list[str]) -> bool:
    """Reports to the sender included."""
    tried = all(re.search(rf"to=<{re.escape(person)}>.* status=", log) for person in people)
    return tried and log.count(" to=<s p@v.example>") >= log.count("status=bounced") > 0


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    base = tmp_path_factory.mktemp("outgoing")
    (base / "real").mkdir()
    (base / "mail").mkdir()
    (base / "mail").chmod(0o1777)
    world = World(base)
    names = NameServer(ZONE.format(port=world.plain.port), DNS)
    base.chmod(0o755)
    real = RealPostfix(base / "real", **world.settings)
    (base / "real" / "mail").mkdir()
    (base / "real" / "mail").chmod(0o1777)
    with (real.etc / "master.cf").open("a") as file:
        file.write(world.master_cf())
    own = {"postwarden_dns_servers": f"{DNS}:53"}
    gateway = Gateway(
        base, 0, MASTER_CF + world.master_cf().replace("{", "{{").replace("}", "}}"), **world.settings, **own
    )
    try:
        names.start(real, base)
        with running(gateway):
            world.send(real.port)
            world.send(gateway.port, BY_SERVICE)
            until(lambda: settled(real.log(), world.people), 60, real.log)
            until(lambda: settled(gateway.log(), [*world.people, BY_SERVICE]), 60, gateway.log)
            yield real.log(), gateway.log()
    finally:
        real.stop()
        names.close()
        world.close()


def test_the_log_says_the_same(logs: tuple[str, str]) -> None:
    real, ours = map(lines, logs)
    assert len(real) > 40
    assert ours - real == set()
    assert real - ours == set()


def test_delays_without_digits(logs: tuple[str, str]) -> None:
    for log in logs:
        delays = re.findall(r" delay=(\S+), delays=(\S+)/(\S+)/(\S+)/(\S+), ", log)
        assert len(delays) > 20
        assert all(text.isdecimal() for found in delays for text in found)


def test_a_service_is_found_by_its_srv_records(logs: tuple[str, str]) -> None:
    [line] = [one for one in logs[1].splitlines() if f" to=<{BY_SERVICE}>" in one]
    assert " relay=better.srv.example[127.0.0.1]:" in line and " status=sent (250 2.0.0 queued)" in line
