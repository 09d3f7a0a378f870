"""Address probes beside the real verify(8): what each finds out about the same addresses at the same servers, what it
remembers of it, and what its log says."""

import re
import shutil
import smtplib
import socket
import subprocess
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import MASTER_CF, Gateway, Server, Sink, until

from postwarden.mail.verified import BOUNCE, DEFER, OK
from postwarden.verify import file

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

_CODES = {"0": OK, "1": DEFER, "2": BOUNCE}
_LINE = re.compile(
    r"postfix/(\w+)\[\d+\]: \w+: to=<(.*?)>,(?: orig_to=<(.*?)>,)? relay=(.*?), (?:conn_use=\d+, )?delay="
)
_END = re.compile(r"dsn=([\d.]+), status=(.*)$")
_PIPE = "filter unix - n n - - pipe flags=R user=nobody argv=/bin/true\n"


class Greeter(Server):
    """Says one thing and closes."""

    def __init__(self, greeting: bytes) -> None:
        self.greeting = greeting
        super().__init__()

    def _talk(self, stream: Any) -> None:
        stream.write(self.greeting)
        stream.flush()
        stream.readline()


def _recipients(line: str) -> str | None:
    if line.upper().startswith("RCPT"):
        if "unknown" in line.lower():
            return "550 5.1.1 no such user"
        if "grey" in line:
            return "450 4.2.0 greylisted"
        if "early" in line:
            return "421 4.3.2 closing"
    return None


class Both:
    """The same configuration, twice."""

    def __init__(self, base: Path, **parameters: str) -> None:
        self.sinks: dict[str, Server] = {
            "ok": Sink(refuse=_recipients),
            "mail5": Sink(refuse=lambda line: "550 5.7.1 not from you" if line.startswith("MAIL") else None),
            "mail4": Sink(refuse=lambda line: "451 4.7.1 later" if line.startswith("MAIL") else None),
            "greet5": Greeter(b"554 5.3.2 go away\r\n"),
            "greet4": Greeter(b"421 4.3.2 too busy\r\n"),
            "mute": Greeter(b""),
        }
        ports = {name: sink.port for name, sink in self.sinks.items()} | {"dead": free_port()}
        routes = {f"{name}.example": f"smtp:[127.0.0.1]:{port}" for name, port in ports.items()} | {
            "err.example": "error:5.7.1 no entry",
            "retry.example": "retry:4.4.4 try later",
            "disc.example": "discard:gone",
            "pipe.example": "filter:",
            "nosuch.example": "nosuch:",
        }
        (base / "transport").write_text("".join(f"{domain} {route}\n" for domain, route in routes.items()))
        (base / "virtual").write_text(
            "v1@ok.example good@ok.example\nv2@ok.example unknown@ok.example\n"
            "many@ok.example a@ok.example, unknown@ok.example\nvirt@va.example good@ok.example\n"
        )
        (base / "aliases").write_text(
            f"prog: |/bin/true\nbob: nobody\nsome: nobody, unknown2\naway: unknown@ok.example\nfile: {base}/box\n"
            "loop1: loop2\nloop2: loop1\npostmaster: nobody\n"
        )
        (base / "canonical").write_text("c1@ok.example unknown3@ok.example\n")
        for word, name in (("postmap", "transport"), ("postmap", "virtual"), ("postalias", "aliases")):
            subprocess.run([word, f"lmdb:{base}/{name}"], check=True, timeout=30)
        subprocess.run(["postmap", f"lmdb:{base}/canonical"], check=True, timeout=30)
        settings = {
            "relay_domains": " ".join(routes),
            "transport_maps": f"lmdb:{base}/transport",
            "virtual_alias_maps": f"lmdb:{base}/virtual",
            "virtual_alias_domains": "va.example",
            "canonical_maps": f"lmdb:{base}/canonical",
            "alias_maps": f"lmdb:{base}/aliases",
            "always_bcc": "copy@ok.example",
            "enable_long_queue_ids": "yes",
            "smtp_helo_timeout": "2s",
            "smtp_connection_cache_on_demand": "no",
            "unverified_recipient_reject_code": "550",
            "address_verify_poll_delay": "25s",
            "smtpd_recipient_restrictions": "reject_unverified_recipient",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
        } | {name: value.format(base=base, **ports) for name, value in parameters.items()}
        ours = base / "ours"
        ours.mkdir()
        self.ours = Gateway(ours, 0, MASTER_CF + _PIPE, **settings)
        self.real = RealPostfix(base, 0, **settings)
        with (self.real.etc / "master.cf").open("a") as master:
            master.write(_PIPE)
        self.base = base

    def ask(self, addresses: Sequence[str]) -> dict[str, str]:
        """Of both, until both know; and what our smtpd said."""
        said: dict[str, str] = {}

        def ask(address: str) -> None:
            with smtplib.SMTP("127.0.0.1", self.ours.port, timeout=60) as client:
                client.ehlo()
                client.mail("s@sender.example")
                code, text = client.rcpt(address)
                said[address] = f"{code} {text.decode()}"

        threads = [threading.Thread(target=ask, args=(address,)) for address in addresses]
        for thread in threads:
            thread.start()
        for address in addresses:
            until(lambda address=address: self.real_knows(address), 60)  # type: ignore[misc]
        for thread in threads:
            thread.join(60)
        return said

    def real_knows(self, address: str) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(self.real.queue / "private" / "verify"))
            sock.sendall(b"".join(word + b"\0" for word in (b"request", b"query", b"address", address.encode(), b"")))
            data = b""
            while not (b"recipient_status\0" in data and data.endswith(b"\0\0")):
                more = sock.recv(4096)
                if not more:
                    break
                data += more
        return b"recipient_status\x003" not in data

    def remembered(self) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
        """By address: what is kept of it, by us and by the real one."""
        rows = file.read(str(self.base / "ours" / "data" / "verify_cache.sqlite"))
        ours = {address: (known.status, known.text) for address, known in rows}
        # verify(8) has the file locked, for good.
        shutil.copy(self.base / "postfix-data" / "verify_cache.db", self.base / "copy.db")
        words = ["postmap", "-s", f"btree:{self.base}/copy"]
        # A copy that is no whole one is no answer yet.
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        real = {}
        for line in done.stdout.splitlines():
            address, _, value = line.partition("\t")
            if not address.startswith("_"):
                status, _, _, text = value.split(":", 3)
                real[address] = (_CODES[status], text)
        return ours, real


def outcomes(log: str) -> dict[str, tuple[str, ...]]:
    """By address asked for: program, recipient, relay, dsn, status and text of its line."""
    found = {}
    for line in log.splitlines():
        begin, end = _LINE.search(line), _END.search(line)
        if begin and end:
            program, to, original, relay = begin.groups()
            found[original or to] = (program, to, relay, *end.groups())
    return found


_ASKED = """
good@ok.example unknown@ok.example grey@ok.example early@ok.example x@mail5.example x@mail4.example x@greet5.example
x@greet4.example x@mute.example x@dead.example x@err.example x@retry.example x@disc.example x@pipe.example
x@nosuch.example nouser@mx.example.com nobody@mx.example.com prog@mx.example.com bob@mx.example.com some@mx.example.com
away@mx.example.com file@mx.example.com loop1@mx.example.com v1@ok.example v2@ok.example many@ok.example virt@va.example
nope@va.example c1@ok.example x@nonexistent.invalid
"""
ADDRESSES = tuple(_ASKED.split())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    made = Both(tmp_path_factory.mktemp("verify"))
    try:
        made.real.start()
        made.ours.start()
        yield made
    finally:
        made.ours.abort()
        made.real.stop()
        for sink in made.sinks.values():
            sink.close()


OURS_ALONE = {"x@nosuch.example"}
"""Not remembered by us, since the fault is our own."""


def compared(both: Both, addresses: Sequence[str], ours_alone: Collection[str]) -> dict[str, str]:
    """What our smtpd said of each, when all else is alike."""
    said = both.ask(addresses)
    for log in (both.ours.log, both.real.log):
        until(lambda log=log: outcomes(log()).keys() >= set(addresses))  # type: ignore[misc]
    until(lambda: both.remembered()[0].keys() >= set(addresses) - set(ours_alone))
    until(lambda: both.remembered()[1].keys() >= set(addresses))
    found, expected = outcomes(both.ours.log()), outcomes(both.real.log())
    assert {address: found.get(address) for address in addresses} == {a: expected.get(a) for a in addresses}
    ours, real = both.remembered()
    assert ours == {address: known for address, known in real.items() if address not in ours_alone}
    for address, (status, text) in ours.items():
        if address in said and status != OK:
            hard = status == BOUNCE and both.ours.settings.get("soft_bounce") != "yes"
            assert said[address].startswith("550" if hard else "450"), said
            assert text in said[address]
    return said


def test_both_find_out_remember_and_log_the_same(both: Both) -> None:
    said = compared(both, ADDRESSES, OURS_ALONE)
    assert said["good@ok.example"].startswith("250")
    # No mail was sent, and nothing waits.
    assert not any(sink.messages for sink in both.sinks.values() if isinstance(sink, Sink))
    assert "Mail queue is empty" in both.ours.command("mailq").stdout


def test_what_servers_see_of_a_probe(both: Both) -> None:
    seen: list[str] = []
    other: list[str] = []
    sink = both.sinks["ok"]
    assert isinstance(sink, Sink)
    lines = seen
    sink.refuse = lambda line: lines.append(line)
    try:
        both.ours.command("status")
        with smtplib.SMTP("127.0.0.1", both.ours.port, timeout=60) as client:
            client.ehlo()
            client.mail("s@sender.example")
            assert client.rcpt("fresh@ok.example")[0] == 250
        lines = other
        until(lambda: both.real_knows("fresh@ok.example"), 60)
    finally:
        sink.refuse = _recipients

    def words(log: list[str]) -> list[str]:
        return [re.sub(r"SIZE=\d+", "SIZE=", line) for line in log if not line.startswith(("QUIT", "RSET"))]

    assert words(seen) == words(other)


OTHER_WAYS = {
    "soft_bounce": "yes",
    "smtp_address_verify_target": "data",
    "address_verify_sender": "<>",
    "address_verify_relayhost": "[127.0.0.1]:{ok}",
    "address_verify_transport_maps": "inline:{{ {{x.example=discard:nowhere}}, {{v.example=error:5.2.1 closed}} }}",
    "address_verify_relay_transport": "smtp:[127.0.0.1]:{mail5}",
    "address_verify_virtual_transport": "error:5.2.0 no boxes",
    "relay_domains": "rel.example",
    "virtual_mailbox_domains": "box.example",
    "virtual_mailbox_maps": "inline:{{u@box.example=u}}",
    "virtual_mailbox_base": "{base}",
    "virtual_uid_maps": "static:65534",
    "virtual_gid_maps": "static:65534",
    "mailbox_command": "/bin/true",
    "luser_relay": "luser@ok.example",
    "forward_path": "{base}/forward.$user",
    "enable_original_recipient": "no",
}
NOT_PROBED = ("luser@ok.example",)
"""verify(8) takes it for good since local(8) would forward to it. Nobody has asked its server."""
THERE = ("a@far.example", "unknown@far.example", "a@x.example", "a@v.example", "a@rel.example", "u@box.example")
HERE = ("nobody@mx.example.com", "games@mx.example.com", "daemon@mx.example.com", "nouser@mx.example.com")


@pytest.mark.long
def test_other_ways_than_those_of_mail(tmp_path: Path) -> None:
    made = Both(tmp_path, **OTHER_WAYS)
    for user, text in (("nobody", "unknown@ok.example\n"), ("games", "|/bin/true\n")):
        (tmp_path / f"forward.{user}").write_text(text)
        shutil.chown(tmp_path / f"forward.{user}", user)
    try:
        made.real.start()
        made.ours.start()
        compared(made, (*THERE, *HERE, "v2@ok.example", "many@ok.example", "c1@ok.example"), NOT_PROBED)
    finally:
        made.ours.abort()
        made.real.stop()
        for sink in made.sinks.values():
            sink.close()
