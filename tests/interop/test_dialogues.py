"""The dialogues against Debian's smtpd(8): what we expect of ourselves is what Postfix says, word for word."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from tests.dialogues.memory import COMMON, compare_logs, settings_of
from tests.dialogues.script import Script, scripts
from tests.dialogues.sockets import play_steps
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import until

from postwarden.testing.certificate import write_certificate

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

SCRIPTS = [s for s in scripts() if s.address == "127.0.0.1" and "real" not in s.without]


class Ports:
    """One smtpd service a dialogue, each with the dialogue's settings."""

    def __init__(self, postfix: RealPostfix, certificate: str) -> None:
        self.postfix = postfix
        self._ports: dict[str, int] = {}
        lines = []
        for script in SCRIPTS:
            port = self._ports[script.name] = free_port()
            options = "".join(f" -o {{ {n} = {v} }}" for n, v in settings_of(script, certificate).items())
            lines.append(f"127.0.0.1:{port} inet n - n - - smtpd{options}\n")
        with (postfix.etc / "master.cf").open("a") as master:
            master.write("".join(lines))

    def port(self, script: Script) -> int:
        return self._ports[script.name]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    base = tmp_path_factory.mktemp("dialogues")
    certificate = base / "mx.pem"
    write_certificate(certificate, "mx.example.com")
    settings = {"smtpd_forbid_bare_newline": "normalize", "defer_transports": "smtp relay local"}
    postfix = RealPostfix(base, **COMMON | settings)
    ports = Ports(postfix, str(certificate))
    postfix.start()
    yield ports
    postfix.stop()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_as_postfix(script: Script, ports: Ports) -> None:
    before = len(ports.postfix.log())
    asyncio.run(_play(script, ports.port(script)))
    # Also when nothing of it is compared: its last line must not turn up among those of the next one.
    until(lambda: "disconnect from" in ports.postfix.log()[before:])
    if script.log:
        logged = re.findall(r"postfix/(smtpd)\[\d+\](: .*)", ports.postfix.log()[before:])
        ours = Script(script.name, log=[line for line in script.log if line.startswith("smtpd: ")])
        compare_logs(ours, ["".join(parts) for parts in logged])


async def _play(script: Script, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await play_steps(script, reader, writer, None)
    finally:
        writer.close()
