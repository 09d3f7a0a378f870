"""The same misbehaving servers as in the unit tests, over real sockets, with TLS that really fails."""

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from postwarden.config.view import view
from postwarden.deliver.smtp.deliverer import SmtpDeliverer
from postwarden.deliver.smtp.params import SmtpParams, smtp_profile
from postwarden.deliver.smtp.tls import tls_policies
from postwarden.ipc.records import Outcome
from postwarden.mail.host import Host
from postwarden.net.clock import LoopClock
from postwarden.net.dial import SocketDial
from postwarden.net.stream import SocketStream
from postwarden.net.tls_client import TlsClient
from postwarden.net.tls_settings import TlsSettings
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.misbehaviour import Case, cases, comparable, content_cases
from postwarden.testing.remote import Remote
from postwarden.testing.smtp_client import HOST, TIMED_STAGES, FixedHosts, KeptLog, job_for

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parents[1] / "unit/deliver/smtp/misbehaviour.tsv"
CASES = (*cases(), *content_cases())
AT_ONCE = 200

Answers = dict[tuple[str, int], tuple[str, str, str]]


async def deliver(case: Case) -> Answers:
    loop = asyncio.get_running_loop()
    streams: list[SocketStream] = []

    def accept() -> SocketStream:
        streams.append(SocketStream(Remote(case.script), loop))
        return streams[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = "".join(f"smtp_{stage}_timeout = 8s\n" for stage in TIMED_STAGES)
    text += "".join(f"{name} = {value}\n" for name, value in case.parameters)
    config = settings(text)
    deliverer = SmtpDeliverer(
        smtp_profile(view(SmtpParams, config)),
        FixedHosts(Host(HOST.name, "127.0.0.1", port)),
        SocketDial(loop),
        clock=LoopClock(loop),
        log=KeptLog(),
        tls=TlsClient(TlsSettings(), TlsSettings()),
        policies=tls_policies(config, "", Tables.of(config), print),
    )
    outcome: asyncio.Future[Outcome] = loop.create_future()
    deliverer.deliver(job_for(case), case.content, outcome.set_result)
    results = (await asyncio.wait_for(outcome, 60)).results
    deliverer.close()
    server.close()
    for stream in streams:
        stream.abort()
    name = f"{HOST.name}[{HOST.address}]"
    return {
        (case.name, n): (s.code, s.action.value, comparable(s.text.replace(f"{HOST.name}[127.0.0.1]", name)))
        for n, s in enumerate(results)
    }


async def deliver_all() -> Answers:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> Answers:
        async with slots:
            return await deliver(case)

    answers: Answers = {}
    for found in await asyncio.gather(*map(one, CASES)):
        answers |= found
    await asyncio.sleep(0.1)
    return answers


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_same_as_postfix(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with RECORDED.open(newline="") as file:
        recorded = {(row[0], int(row[1])): tuple(row[2:]) for row in csv.reader(file, delimiter="\t")}
    with asyncio.Runner(loop_factory=new_loop) as runner:
        answers = runner.run(deliver_all())
    different = {key: (answer, recorded[key]) for key, answer in answers.items() if answer != recorded[key]}
    # A reset destroys what the loop has not read yet: then it is not known which command it came after.
    unsure = {key for key, (ours, theirs) in different.items() if "reset" in key[0] and ours[:2] == theirs[:2]}
    assert {key: both for key, both in different.items() if key not in unsure} == {}
    assert answers.keys() == recorded.keys()
