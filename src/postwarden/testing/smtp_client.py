"""Everything round an `SmtpDeliverer` that a test needs: hosts, servers in memory, a log, a clock that jumps."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from postwarden.config.view import view
from postwarden.deliver.body import Body
from postwarden.deliver.smtp.deliverer import SmtpDeliverer
from postwarden.deliver.smtp.params import LmtpParams, SmtpParams, lmtp_profile, smtp_profile
from postwarden.deliver.smtp.protocols import ClientTls
from postwarden.deliver.smtp.quirks import open_quirks
from postwarden.deliver.smtp.tls import tls_policies
from postwarden.ipc.records import Job, Outcome
from postwarden.mail.envelope import Recipient
from postwarden.mail.events import Event, Notice, Warn
from postwarden.mail.host import Host
from postwarden.mail.session import PeerCertificate
from postwarden.mail.status import Status
from postwarden.net.stream import Handler, Stream
from postwarden.net.tls_client import Wanted
from postwarden.tables.opening import Tables
from postwarden.testing.clock import VirtualClock
from postwarden.testing.config import settings
from postwarden.testing.misbehaviour import HEAD, Case
from postwarden.testing.remote import MemoryDial, Remote, Script
from postwarden.testing.stream import MemoryStream

BODY = b"Hello.\r\n"
_SHOWN = PeerCertificate(b"of nobody")
HOST = Host("mx.remote.example", "127.0.0.9", 25, domain="rcpt.example")

TIMED_STAGES = (
    "helo", "starttls", "mail", "rcpt", "data_init", "data_xfer", "data_done", "rset", "quit",
)  # fmt: skip

Server = Callable[[], Handler] | OSError | None


def job(*recipients: str, **fields: object) -> Job:
    """A job for to@rcpt.example, or for `recipients`; `fields` are those of Job."""
    people = tuple(Recipient(address) for address in recipients or ("to@rcpt.example",))
    values: dict[str, object] = {
        "job_id": 1, "transport": "smtp", "nexthop": "rcpt.example", "queue_id": "4ABC", "arrival": 1_700_000_000.0,
        "active": 1_700_000_000.0, "sender": "from@sender.example", "recipients": people,
        "size": len(HEAD) + len(BODY), "head": HEAD, "body": BODY,
    }  # fmt: skip
    values.update(fields)
    return Job(**values)  # type: ignore[arg-type]


class FixedHosts:
    """Routing that knows one answer."""

    def __init__(self, *answer: Host, failure: Status | None = None) -> None:
        self.answer: tuple[Host, ...] | Status = failure or answer or (HOST,)
        self.asked: list[str] = []

    def find(self, nexthop: str, done: Callable[[tuple[Host, ...] | Status], None]) -> None:
        self.asked.append(nexthop)
        done(self.answer)


class PlayedTls:
    """A `ClientTls` over memory streams, which play the handshake; the server shows `certificate`."""

    def __init__(self, certificate: PeerCertificate | None = _SHOWN) -> None:
        self.certificate = certificate
        self.wanted: list[Wanted] = []

    def start(self, stream: Stream, wanted: Wanted, server_name: str) -> bool:
        self.wanted.append(wanted)
        if isinstance(stream, MemoryStream):
            stream.certificate = self.certificate
        stream.start_tls(None, server_side=False, server_name=server_name)  # type: ignore[arg-type]
        return True


class KeptLog:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def emit(self, program: str, event: Event, name: str = "") -> None:
        prefix = "" if event.level == "info" else f"{event.level}: "
        self.lines.append(f"{program}: {prefix}{event}")


class Bench:
    """One deliverer and its world. `remotes` are the connections that its servers got."""

    def __init__(
        self,
        *scripts: Script,
        hosts: FixedHosts | None = None,
        servers: Mapping[tuple[str, int], Server] | None = None,
        tls: ClientTls | None = None,
        chunk: int = 0,
        lmtp: bool = False,
        parameters: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.clock = VirtualClock()
        self.log = KeptLog()
        self.warnings: list[str] = []
        """Of TLS policies."""
        self.remotes: list[Remote] = []
        self._scripts = list(scripts) or [Script(lmtp=lmtp)]
        self.hosts = hosts or FixedHosts()
        self.dial = MemoryDial(self.clock, servers or {(HOST.address, 25): self.server}, chunk=chunk)
        config = settings("".join(f"{name} = {value}\n" for name, value in parameters.items()))
        profile = lmtp_profile(view(LmtpParams, config)) if lmtp else smtp_profile(view(SmtpParams, config))
        tables, service, command = Tables.of(config), "lmtp/unix" if lmtp else "", "lmtp" if lmtp else "smtp"
        policies = tls_policies(config, service, tables, self.warnings.append)
        quirks = open_quirks(config, service, tables, command=command, say=self.say, warn=self.warn)
        self.deliverer = SmtpDeliverer(
            profile, self.hosts, self.dial, clock=self.clock, log=self.log, tls=tls, policies=policies, quirks=quirks
        )

    def say(self, text: str) -> None:
        self.log.emit("smtp", Notice(text))

    def warn(self, text: str) -> None:
        self.log.emit("smtp", Warn(text))

    def server(self) -> Remote:
        """A server for the next connection: by the next script, or the last one again."""
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        remote = Remote(script, later=self.clock.call_soon)
        self.remotes.append(remote)
        return remote

    def begin(self, job: Job, body: Body | None = None) -> list[Outcome]:
        """Hand over a job; what it comes to will be in the list."""
        outcomes: list[Outcome] = []
        self.deliverer.deliver(job, body if body is not None else job.body or b"", outcomes.append)
        self.clock.run()
        return outcomes

    def deliver(self, job: Job, body: Body | None = None, wait: float = 4000.0) -> Outcome:
        """Deliver, letting time pass until it is settled."""
        outcomes = self.begin(job, body)
        end = self.clock.monotonic() + wait
        while not outcomes and self.clock.monotonic() < end:
            self.clock.advance(min(self.clock.next_timer() or 1.0, 60.0) + 0.001)
        assert len(outcomes) == 1, "the job was not settled, or more than once"
        return outcomes[0]


def bench_for(case: Case, chunk: int = 0) -> tuple["Bench", Job]:
    """The world of one case of misbehaviour, and the job to deliver in it. Time-outs are those that Postfix had when
    it was asked."""
    parameters = {f"smtp_{stage}_timeout": "2s" for stage in TIMED_STAGES} | dict(case.parameters)
    bench = Bench(case.script, tls=PlayedTls(), chunk=chunk, parameters=parameters)
    return bench, job_for(case)


def job_for(case: Case) -> Job:
    names = [f"{case.local_part}{number}@rcpt.example" for number in range(case.recipients)]
    size = len(case.head) + len(case.content)
    fields = {"sender": case.sender, "head": case.head, "body": case.content, "size": size}
    return job(*names, smtputf8=case.utf8, eight_bit=case.eight_bit, **fields)
