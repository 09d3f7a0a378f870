"""From server to server: who is tried, when it ends, and what is then said of each recipient."""

import errno

import pytest

from postwarden.mail.host import Host
from postwarden.mail.status import Action, Status
from postwarden.net.dial import SourceError
from postwarden.testing.misbehaviour import PLAIN
from postwarden.testing.remote import BANNER, END, OFFER, Act, MemoryDial, Remote, Script
from postwarden.testing.smtp_client import HOST, Bench, FixedHosts, PlayedTls, job

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "")


def mx(number: int, preference: int = 10, destination: int = 0, port: int = 25) -> Host:
    return Host(
        f"mx{number}.remote.example",
        f"192.0.2.{number}",
        port,
        preference,
        best=preference == 10,
        destination=destination,
    )


class Mx(Bench):
    """Several servers, each with a script, or with None: refuses connections."""

    def __init__(self, *servers: tuple[Host, Script | None], **parameters: str) -> None:
        self.at: dict[str, list[Remote]] = {}
        super().__init__(hosts=FixedHosts(*(host for host, _ in servers)), tls=PlayedTls(), parameters=parameters)
        self.dial._servers = {
            (host.address, host.port): REFUSED if script is None else self.factory(host, script)
            for host, script in servers
        }

    def factory(self, host: Host, script: Script):
        def accept() -> Remote:
            remote = Remote(script, later=self.clock.call_soon)
            self.at.setdefault(host.name, []).append(remote)
            return remote

        return accept

    @property
    def tried(self) -> list[str]:
        return [host.name.partition(".")[0] for host in self.dial.dialled]


GOOD = Script()
LATER = Script({"RCPT": b"450 4.2.1 Later\r\n"})


def test_a_dead_server_is_passed_over() -> None:
    world = Mx((mx(1), None), (mx(2, 20), GOOD))
    outcome = world.deliver(job())
    assert outcome.results[0].action is Action.SENT
    assert outcome.results[0].relay == "mx2.remote.example[192.0.2.2]:25"
    assert outcome.destination_fault is None
    assert world.log.lines[0] == "smtp: connect to mx1.remote.example[192.0.2.1]:25: Connection refused"


def test_all_are_dead() -> None:
    world = Mx((mx(1), None), (mx(2, 20), None))
    outcome = world.deliver(job("a@x.example", "b@x.example"))
    wanted = Status("4.4.1", "connect to mx2.remote.example[192.0.2.2]:25: Connection refused")
    assert outcome.results == (wanted, wanted)
    assert outcome.destination_fault == wanted
    assert "relay=none" in world.log.lines[-1]


def test_no_answer_at_all() -> None:
    bench = Bench(servers={(HOST.address, 25): None})
    outcome = bench.deliver(job())
    assert outcome.results[0].text == "connect to mx.remote.example[127.0.0.9]:25: Connection timed out"
    assert outcome.timing.done - outcome.timing.handed == pytest.approx(30)


def test_what_is_put_off_goes_to_the_next() -> None:
    world = Mx((mx(1), LATER), (mx(2, 20), GOOD))
    outcome = world.deliver(job())
    assert outcome.results[0].relay == "mx2.remote.example[192.0.2.2]:25"
    assert outcome.results[0].action is Action.SENT
    assert world.log.lines[0].startswith("smtp: 4ABC: host mx1.remote.example[192.0.2.1] said: 450 4.2.1 Later")


def test_what_is_refused_does_not() -> None:
    world = Mx((mx(1), Script({"RCPT": b"550 5.1.1 No\r\n"})), (mx(2, 20), GOOD))
    assert world.deliver(job()).results[0].code == "5.1.1"
    assert world.tried == ["mx1"]


def test_each_recipient_goes_its_own_way() -> None:
    script = Script({"RCPT": (b"550 5.1.1 No\r\n", b"450 4.2.1 Later\r\n", b"250 2.1.5 Ok\r\n")})
    world = Mx((mx(1), script), (mx(2, 20), Script({"RCPT": b"451 4.3.0 Not here\r\n"})))
    outcome = world.deliver(job("a@x.example", "b@x.example", "c@x.example"))
    assert [status.code for status in outcome.results] == ["5.1.1", "4.3.0", "2.0.0"]
    assert world.at["mx2.remote.example"][0].commands[2] == b"RCPT TO:<b@x.example> ORCPT=rfc822;b@x.example"
    assert outcome.destination_fault is None


@pytest.mark.parametrize(
    "first",
    [
        Script({BANNER: b"554 5.7.1 Go away\r\n"}),
        Script({BANNER: b"450 4.7.1 Busy\r\n"}),
        Script({"EHLO": b"421 4.7.1 Busy\r\n"}),
        Script({"MAIL": b"451 4.7.1 Busy\r\n"}),
        Script({"DATA": b"451 4.7.1 Busy\r\n"}),
        Script({END: b"451 4.7.1 Busy\r\n"}),
        Script({END: Act(b"", "close")}),
        Script({"EHLO": Act(b"", "stall")}),
    ],
)
def test_soft_failures_lead_on(first: Script) -> None:
    world = Mx((mx(1), first), (mx(2, 20), GOOD))
    assert world.deliver(job()).results[0].action is Action.SENT
    assert world.tried == ["mx1", "mx2"]


def test_at_most_two_sessions_and_five_addresses() -> None:
    world = Mx(*((mx(n), LATER) for n in range(1, 5)))
    assert world.deliver(job()).results[0].code == "4.2.1"
    assert world.tried == ["mx1", "mx2"]
    world = Mx(*((mx(n), None) for n in range(1, 9)))
    world.deliver(job())
    assert world.tried == ["mx1", "mx2", "mx3", "mx4", "mx5"]


def test_the_limits_are_those_of_a_destination() -> None:
    servers = [(mx(n), LATER) for n in range(1, 4)] + [(mx(n, destination=1), GOOD) for n in (8, 9)]
    world = Mx(*servers)
    assert world.deliver(job()).results[0].action is Action.SENT
    assert world.tried == ["mx1", "mx2", "mx8"]


def test_what_routing_says_is_passed_on() -> None:
    why = Status("5.4.4", "Host or domain name not found. Name service error for name=x type=MX: Host not found")
    bench = Bench(hosts=FixedHosts(failure=why))
    outcome = bench.deliver(job())
    assert outcome.results == (why,)
    assert outcome.destination_fault is None


def test_a_relayhost_that_can_not_be_found_is_the_operators_mistake() -> None:
    why = Status("5.4.4", "Host not found")
    bench = Bench(hosts=FixedHosts(failure=why), parameters={"relayhost": "[relay.example]"})
    outcome = bench.deliver(job(nexthop="[relay.example]"))
    assert outcome.results[0].code == "4.3.5"
    assert bench.log.lines[0] == "smtp: warning: relayhost configuration problem"


def test_no_host_at_all() -> None:
    hosts = FixedHosts()
    hosts.answer = ()
    assert Bench(hosts=hosts).deliver(job()).results[0].text == "server unavailable or unable to receive mail"


def test_soft_bounce() -> None:
    script = Script({"RCPT": b"550 5.1.1 No\r\n"})
    world = Mx((mx(1), script), (mx(2), script), soft_bounce="yes")
    assert world.deliver(job()).results[0].code == "4.1.1"
    assert world.tried == ["mx1", "mx2"]


@pytest.mark.parametrize(("preference", "code"), [(10, "5.4.6"), (20, "4.4.6")])
def test_mail_loops_back(preference: int, code: str) -> None:
    script = Script({"EHLO": b"250-MX.example.com\r\n250 SIZE\r\n"})
    world = Mx((mx(1, preference), script))
    status = world.deliver(job()).results[0]
    assert (status.code, status.text) == (code, "mail for rcpt.example loops back to myself")
    assert "replied to HELO/EHLO with my own hostname mx.example.com" in world.log.lines[0]


def test_on_another_port_it_is_a_filter_beside_us() -> None:
    script = Script({BANNER: b"220 mx.example.com ESMTP\r\n", "EHLO": b"250-mx.example.com\r\n250 SIZE\r\n"})
    world = Mx((mx(1, port=10025), script))
    assert world.deliver(job()).results[0].action is Action.SENT


# TLS

TLS_OFFER = (*OFFER, "STARTTLS")


def test_encrypted() -> None:
    world = Mx((mx(1), Script(offer=TLS_OFFER)), smtp_tls_security_level="encrypt", smtp_tls_loglevel="1")
    assert world.deliver(job()).results[0].action is Action.SENT
    (remote,) = world.at["mx1.remote.example"]
    assert remote.tls_started
    assert [line[:8] for line in remote.commands[:4]] == [b"EHLO mx.", b"STARTTLS", b"EHLO mx.", b"MAIL FRO"]
    assert world.log.lines[0].startswith(
        "smtp: Untrusted TLS connection established to mx1.remote.example[192.0.2.1]:25: TLSv1.3 with cipher"
    )


@pytest.mark.parametrize("level", ["encrypt", "verify", "fingerprint", "secure"])
def test_nothing_is_said_in_clear_when_tls_is_required(level: str) -> None:
    world = Mx((mx(1), Script()), smtp_tls_security_level=level)
    assert world.deliver(job()).results[0].code == "4.7.4"
    (remote,) = world.at["mx1.remote.example"]
    assert remote.commands == [b"EHLO mx.example.com", b"QUIT"]


@pytest.mark.parametrize(("waited", "sent"), [(0.0, False), (400.0, True)])
def test_clear_text_only_for_mail_that_waited(waited: float, sent: bool) -> None:
    broken = Script({"STARTTLS": Act(b"220 2.0.0 Ready\r\n", "close")}, offer=TLS_OFFER)
    world = Mx((mx(1), broken), smtp_tls_security_level="may")
    status = world.deliver(job(arrival=1_700_000_000.0 - waited)).results[0]
    assert (status.action is Action.SENT) == sent
    assert world.tried == ["mx1", "mx1"] if sent else ["mx1"]
    if not sent:
        assert (status.code, status.text) == ("4.7.5", "Cannot start TLS: handshake failure")


def test_no_clear_text_after_failed_tls_when_it_is_required() -> None:
    broken = Script({"STARTTLS": Act(b"220 2.0.0 Ready\r\n", "close")}, offer=TLS_OFFER)
    world = Mx((mx(1), broken), smtp_tls_security_level="encrypt")
    assert world.deliver(job(arrival=1_600_000_000.0)).results[0].code == "4.7.5"
    assert world.tried == ["mx1"]


def test_a_session_that_breaks_under_tls_is_tried_in_clear() -> None:
    script = Script({"MAIL": (Act(b"", "close"), b"250 2.1.0 Ok\r\n")}, offer=TLS_OFFER)
    world = Mx((mx(1), script), smtp_tls_security_level="may")
    world.deliver(job(arrival=1_600_000_000.0))
    assert [remote.tls_started for remote in world.at["mx1.remote.example"]] == [True, False]


def test_no_tls_engine() -> None:
    bench = Bench(Script(offer=TLS_OFFER), parameters={"smtp_tls_security_level": "encrypt"})
    assert bench.deliver(job()).results[0].text == "TLS is required, but our TLS engine is unavailable"


def test_injected_replies_do_not_survive_starttls() -> None:
    injected = b"220 2.0.0 Ready\r\n250-evil\r\n250 SIZE 1\r\n"
    world = Mx((mx(1), Script({"STARTTLS": injected}, offer=TLS_OFFER)), smtp_tls_security_level="encrypt")
    assert world.deliver(job()).results[0].action is Action.SENT


def test_a_server_that_calls_for_starttls_twice_is_not_followed() -> None:
    hello = b"250-mx.remote.example\r\n250 STARTTLS\r\n"
    world = Mx((mx(1), Script({"EHLO": hello})), smtp_tls_security_level="may")
    assert world.deliver(job()).results[0].action is Action.SENT
    assert world.at["mx1.remote.example"][0].commands.count(b"STARTTLS") == 1


# source address


class NoSource(MemoryDial):
    def connect(self, host, handler, failed, *, timeout, source=""):  # type: ignore[no-untyped-def]
        if source:
            error = SourceError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            self._clock.call_soon(lambda: failed(error))
        else:
            super().connect(host, handler, failed, timeout=timeout)


@pytest.mark.parametrize(("enforce", "code"), [("no", "2.0.0"), ("yes", "4.4.0")])
def test_a_source_address_that_is_not_ours(enforce: str, code: str) -> None:
    bench = Bench(parameters={"smtp_bind_address": "192.0.2.77", "smtp_bind_address_enforce": enforce})
    bench.deliverer._dial = NoSource(bench.clock, bench.dial._servers)
    assert bench.deliver(job()).results[0].code == code
    assert bench.log.lines[0].endswith("bind 192.0.2.77: Cannot assign requested address")


# time


def test_delays() -> None:
    bench = Bench(Script(offer=PLAIN))
    outcome = bench.deliver(job(arrival=1_700_000_000.0 - 10, active=1_700_000_000.0 - 2))
    assert outcome.timing.handed == outcome.timing.connected == outcome.timing.done == 1_700_000_000.0
    assert "delay=10, delays=8/2/0/0," in bench.log.lines[-1]
