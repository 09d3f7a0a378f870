"""smtp_tls_policy_maps and levels at work: what is said to which server."""

import ssl
from collections.abc import Awaitable, Callable

import pytest

from postwarden.deliver.smtp.policies import TlsPolicies
from postwarden.deliver.smtp.security import PLAIN, Security
from postwarden.mail.decision import Pending
from postwarden.mail.host import Host
from postwarden.mail.session import PeerCertificate
from postwarden.mail.status import Action, Status
from postwarden.net.stream import UntrustedCertificate
from postwarden.net.tls_client import Wanted
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found, TableError
from postwarden.testing.remote import OFFER, Script
from postwarden.testing.smtp_client import HOST, Bench, FixedHosts, PlayedTls, job

TLS = Script(offer=(*OFFER, "STARTTLS"))
RIGHT = PeerCertificate(b"x", ("rcpt.example",))


def bench(certificate: PeerCertificate | None = RIGHT, script: Script = TLS, **parameters: str) -> Bench:
    return Bench(script, tls=PlayedTls(certificate), parameters=parameters | {"smtp_tls_loglevel": "1"})


def test_the_right_server() -> None:
    world = bench(smtp_tls_security_level="secure")
    assert world.deliver(job()).results[0].action is Action.SENT
    assert world.log.lines[0].startswith("smtp: Verified TLS connection established to mx.remote.example[127.0.0.9]")


@pytest.mark.parametrize("certificate", [None, PeerCertificate(b"x"), PeerCertificate(b"x", ("evil.example",))])
@pytest.mark.parametrize("level", ["verify", "secure", "fingerprint"])
def test_a_server_that_is_not_the_right_one_hears_quit(certificate: PeerCertificate | None, level: str) -> None:
    world = bench(certificate, smtp_tls_security_level=level)
    status = world.deliver(job(arrival=1_600_000_000.0)).results[0]
    assert (status.code, status.text) == ("4.7.5", "Server certificate not verified")
    assert [remote.commands[-2:] for remote in world.remotes] == [[b"STARTTLS", b"QUIT"]]


def test_a_chain_that_leads_nowhere() -> None:
    world = bench(smtp_tls_security_level="secure")

    class Untrusted(PlayedTls):
        def start(self, stream, wanted: Wanted, server_name: str) -> bool:  # type: ignore[no-untyped-def]
            stream.break_(UntrustedCertificate("unable to get local issuer certificate"))
            return True

    world.deliverer.tls = Untrusted()
    status = world.deliver(job(arrival=1_600_000_000.0)).results[0]
    assert (status.code, status.text) == ("4.7.5", "Server certificate not verified")
    assert any("unable to get local issuer" in line for line in world.log.lines)
    assert len(world.remotes) == 1


@pytest.mark.parametrize(
    ("entry", "nexthop", "level"),
    [
        ("rcpt.example=encrypt", "rcpt.example", "encrypt"),
        ("rcpt.example=encrypt", "RCPT.example", "encrypt"),
        (".example=encrypt", "rcpt.example", "encrypt"),
        (".example=encrypt", "a.rcpt.example", "encrypt"),
        (".example=encrypt", "[rcpt.example]", "may"),
        ("[rcpt.example]:587=encrypt", "[rcpt.example]:587", "encrypt"),
        ("rcpt.example=encrypt", "rcpt.example:587", "may"),
        ("other.example=encrypt", "other.example, rcpt.example", "encrypt"),
    ],
)
def test_by_destination(entry: str, nexthop: str, level: str) -> None:
    world = bench(smtp_tls_security_level="may", smtp_tls_policy_maps=f"inline:{{ {{{entry}}} }}")
    assert world.deliver(job(nexthop=nexthop)).results[0].action is Action.SENT
    assert isinstance(world.deliverer.tls, PlayedTls)
    assert [wanted.level for wanted in world.deliverer.tls.wanted] == [level]


def test_none_for_a_destination() -> None:
    world = bench(smtp_tls_security_level="encrypt", smtp_tls_policy_maps="inline:{rcpt.example=none}")
    assert world.deliver(job()).results[0].action is Action.SENT
    assert not world.remotes[0].tls_started


def test_a_policy_without_a_level_of_main_cf() -> None:
    world = bench(script=Script(), smtp_tls_policy_maps="inline:{rcpt.example=encrypt}")
    assert world.deliver(job()).results[0].code == "4.7.4"


def test_a_policy_that_makes_no_sense_sends_nothing() -> None:
    world = bench(smtp_tls_policy_maps="inline:{rcpt.example=sure}")
    status = world.deliver(job()).results[0]
    assert (status.code, status.text) == ("4.7.5", "client TLS configuration problem")
    assert world.warnings == ["inline:{rcpt.example=sure}, entry rcpt.example: invalid security level 'sure'"]
    assert world.remotes == []


class Odd:
    """The rest of a `Table`."""

    fixed = True
    slow = False

    def stale(self) -> bool:
        return False

    def reload(self) -> None:
        return


class Failing(Odd):
    name = "fail:it"

    def get(self, key: str) -> Found | None:
        raise TableError("fail:it", "out of order")


class Slow(Odd):
    name = "slow:it"

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def get(self, key: str) -> Found | None:
        if key not in self.known:

            async def fetch() -> None:
                self.known[key] = "encrypt"

            raise Pending(fetch)
        return Found(self.known[key], key, self.name)


def test_a_table_that_fails_sends_nothing() -> None:
    said: list[str] = []
    policies = TlsPolicies(PLAIN, {}, Maps([Failing()]), warn=said.append)
    answers: list[Security | Status] = []
    policies.find("a.example", Host("h", "192.0.2.1", 25), answers.append)
    assert answers == [Status("4.3.0", "Temporary lookup error")]
    assert said == ["TLS policy of a.example: fail:it: out of order"]


def test_a_slow_table_is_waited_for() -> None:
    encrypt = Security(Wanted("encrypt"))
    policies = TlsPolicies(PLAIN, {"encrypt": encrypt}, Maps([Slow()]))
    answers: list[Security | Status] = []
    waiting: list[tuple[Callable[[], Awaitable[None]], Callable[[], None]]] = []
    policies.fetch = lambda fetch, done: waiting.append((fetch, done))
    policies.find("a.example", Host("h", "192.0.2.1", 25), answers.append)
    assert answers == []
    (fetch, done) = waiting.pop()
    with pytest.raises(StopIteration):
        fetch().__await__().__next__()
    done()
    assert answers == [encrypt]


class Broken(PlayedTls):
    """No handshake succeeds."""

    def start(self, stream, wanted: Wanted, server_name: str) -> bool:  # type: ignore[no-untyped-def]
        self.wanted.append(wanted)
        if wanted.level == "none":
            return False
        stream.break_(ssl.SSLError("no protocols in common"))
        return True


class Changing:
    """Policies that say something else each time."""

    def __init__(self, *answers: Security | Status) -> None:
        self.answers = list(answers)

    def find(self, nexthop: str, host: Host, done: Callable[[Security | Status], None]) -> None:
        done(self.answers.pop(0))


MAY, SECURE = Security(Wanted("may")), Security(Wanted("secure"), ("nexthop",))


def test_what_may_do_without_tls_is_done_in_clear() -> None:
    world = bench()
    world.deliverer.tls, world.deliverer._policies = Broken(), Changing(MAY, MAY)
    assert world.deliver(job(arrival=1_600_000_000.0)).results[0].action is Action.SENT


@pytest.mark.parametrize("answers", [(MAY, SECURE), (MAY, Status("4.3.0", "Temporary lookup error"), SECURE)])
def test_doing_without_tls_is_forgotten_where_tls_is_wanted_by_now(answers: tuple[Security | Status, ...]) -> None:
    """A table that changes, or fails, between two attempts: what was allowed to the first server is not to the next."""
    other = Host("relay.example", "127.0.0.9", 25, domain="relay.example", destination=1)
    world = Bench(TLS, hosts=FixedHosts(HOST, other) if len(answers) > 2 else FixedHosts(HOST))
    world.deliverer.tls, world.deliverer._policies = Broken(), Changing(*answers)
    status = world.deliver(job(arrival=1_600_000_000.0)).results[0]
    assert status.code == "4.7.5"
    assert all(command[:4] != b"MAIL" for remote in world.remotes for command in remote.commands)


NONE, ENCRYPT = Security(Wanted("none")), Security(Wanted("encrypt"))
FAILED = Status("4.3.0", "Temporary lookup error")


def test_a_connection_that_rests_is_used_while_its_policy_is_the_same() -> None:
    world = bench()
    for _ in range(3):
        # Equal, and not the same: each look-up reads the entry anew.
        world.deliverer._policies = Changing(Security(Wanted("none")))
        assert world.deliver(job()).results[0].action is Action.SENT
    assert len(world.remotes) == 1 and len(world.remotes[0].messages) == 3


@pytest.mark.parametrize("answers", [(ENCRYPT, ENCRYPT), (FAILED, FAILED), (FAILED, ENCRYPT)])
def test_a_connection_that_rests_in_clear_is_not_used_where_tls_is_wanted_by_now(
    answers: tuple[Security | Status, ...],
) -> None:
    world = bench()
    world.deliverer.tls = Broken()
    world.deliverer._policies = Changing(NONE)
    assert world.deliver(job()).results[0].action is Action.SENT
    world.deliverer._policies = Changing(*answers)
    assert world.deliver(job()).results[0].code[0] == "4"
    assert len(world.remotes[0].messages) == 1 and world.remotes[0].commands[-1] == b"QUIT"
    assert not any(remote.messages for remote in world.remotes[1:])


def test_a_connection_that_rests_in_clear_since_tls_failed_is_used_while_that_is_allowed() -> None:
    world = bench()
    world.deliverer.tls, world.deliverer._policies = Broken(), Changing(MAY, MAY, MAY)
    for _ in range(2):
        assert world.deliver(job(arrival=1_600_000_000.0)).results[0].action is Action.SENT
    assert len(world.remotes) == 2 and len(world.remotes[1].messages) == 2


class Late:
    """Policies that say it when they are told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[Security | Status], None]] = []

    def find(self, nexthop: str, host: Host, done: Callable[[Security | Status], None]) -> None:
        self.waiting.append(done)


def test_a_connection_that_ends_while_its_policy_is_looked_up_is_not_used() -> None:
    world = bench()
    world.deliverer._policies = Changing(NONE)
    world.deliver(job())
    late = world.deliverer._policies = Late()
    outcomes = world.begin(job())
    world.clock.advance(60)
    assert world.remotes[0].commands[-1] == b"QUIT"
    late.waiting.pop()(NONE)
    late.waiting.pop()(NONE)
    world.clock.run()
    assert outcomes[0].results[0].action is Action.SENT and len(world.remotes) == 2
