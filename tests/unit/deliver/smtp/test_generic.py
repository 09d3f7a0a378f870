"""smtp_generic_maps within the client: what servers hear, and what becomes of mail when a table can't answer."""

from collections.abc import Awaitable, Callable

from postwarden.deliver.smtp.generic import GenericMaps
from postwarden.ipc.records import Job
from postwarden.mail.decision import BUILT_IN, Pending, Rule
from postwarden.mail.envelope import Recipient
from postwarden.mail.remade import Remade
from postwarden.mail.status import Status
from postwarden.tables.table import TableError
from postwarden.testing.smtp_client import Bench, job

STEP = Remade("smtp_generic_maps", "r@inner.example", ("r@outer.example",), Rule("hash:x", "@inner.example", BUILT_IN))


class Inner:
    """Everybody of inner.example is known outside as one of outer.example. `fault` is raised first, once."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault

    def address(self, address: str) -> str:
        if self.fault is not None:
            raise self.fault
        return address.replace("@inner.example", "@outer.example")

    def head(self, head: bytes) -> bytes:
        return head.replace(b"@inner.example", b"@outer.example")

    def taken(self) -> tuple[Remade, ...]:
        return (STEP,)


def bench(fault: Exception | None = None, **means: object) -> tuple[Bench, list[str]]:
    world, said = Bench(), []
    world.deliverer.outward = GenericMaps(Inner(fault), said.append, **means)  # type: ignore[arg-type]
    return world, said


def test_servers_hear_other_addresses_than_the_log() -> None:
    world, _ = bench()
    outcome = world.deliver(job("r@inner.example", sender="s@inner.example", head=b"From: s@inner.example\r\n\r\n"))
    assert outcome.results[0].code[0] == "2"
    [message] = world.remotes[0].messages
    assert b"s@outer.example" in message.mail
    assert message.content == b"From: s@outer.example\r\n\r\nHello.\r\n"
    # RFC 3461 4.2: reports name the address that the sender wrote.
    assert message.rcpts == [b"RCPT TO:<r@outer.example> ORCPT=rfc822;r@inner.example"]
    assert any("to=<r@inner.example>" in line for line in world.log.lines)
    assert outcome.remade == (STEP,)


def test_a_table_that_fails_keeps_the_mail() -> None:
    world, said = bench(TableError("hash:x", "broken"))
    outcome = world.deliver(job("r@inner.example"))
    assert outcome.results == (Status("4.3.0", "Temporary lookup error"),)
    assert not world.remotes
    assert "hash:x: broken" in said[0]


def test_what_a_table_is_slow_to_say_is_waited_for() -> None:
    async def fetched() -> None:
        return

    waits: list[Callable[[], None]] = []

    def fetch(fetch: Callable[[], Awaitable[None]], done: Callable[[], None]) -> None:
        assert fetch is not None
        waits.append(done)

    inner = Inner(Pending(fetched))
    found: list[Job | Status] = []
    GenericMaps(inner, lambda text: None, fetch).find(
        job("r@inner.example"), lambda answer, remade: found.append(answer)
    )
    assert not found
    inner.fault = None
    waits[0]()
    assert isinstance(found[0], Job)
    assert found[0].recipients == (Recipient("r@outer.example", "r@inner.example"),)


def test_nobody_to_wait_with_puts_off() -> None:
    async def fetched() -> None:
        return

    world, _ = bench(Pending(fetched))
    assert world.deliver(job("r@inner.example")).results[0].code == "4.3.0"
