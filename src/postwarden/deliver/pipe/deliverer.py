"""The transport `pipe`: one job in, one run of a program, one outcome a recipient out.

What is wrong with an entry of master.cf stops the mail of that transport, and no other: Debian's own master.cf has
entries for programs and users that few machines have.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from postwarden.config.settings import Service, Settings
from postwarden.config.view import view
from postwarden.deliver.body import Body
from postwarden.deliver.local.letter import Letter, envelope_line, external
from postwarden.deliver.local.ports import NotPermitted, Surroundings
from postwarden.deliver.local.unexpanded import outcome
from postwarden.deliver.pipe.attributes import Attributes, BadAttribute, parse
from postwarden.deliver.pipe.macros import Template
from postwarden.deliver.pipe.params import PipeParams
from postwarden.deliver.programs.environment import given
from postwarden.deliver.programs.exits import failure, text_of
from postwarden.deliver.programs.ports import Program, Ran
from postwarden.ipc.records import Forward, Job, Outcome
from postwarden.mail.envelope import Recipient
from postwarden.mail.events import Failure, Warn
from postwarden.mail.status import Status

_UNUSABLE = Status("4.3.0", "unknown mail transport error")
_MISCONFIGURED = Status("4.3.5", "mail system configuration error")
_SHOWN = 100
"""Characters of what a program says of a success."""


class PipeDeliverer:
    def __init__(self, settings: Settings, service: Service, params: PipeParams, around: Surroundings) -> None:
        """Raises ConfigError for a time limit that is none."""
        self._name = service.name
        self._origin = service.origin
        self._params = params
        self._around = around
        self._limit = float(settings.number(f"{service.name}_time_limit", service.key))
        self._attributes, self._template, self._fault = _usable(service, params)
        self._environment = given(params.import_environment, params.export_environment, settings.config_directory)

    def deliver(self, job: Job, body: Body, forwarded: Callable[[Forward], None]) -> Outcome:
        """The outcome of the job; it forwards nothing."""
        handed = self._around.now()
        letter = Letter(job.sender, job.head, body)
        outcomes = dict(self._refused(letter, job.recipients))
        wanted = [recipient for at, recipient in enumerate(job.recipients) if at not in outcomes]
        status = self._run(job, letter, wanted) if wanted else _UNUSABLE

        def its(index: int, recipient: Recipient) -> Status:
            return outcomes.get(index, status)

        return outcome(letter, self._around, handed, job, its, soft_bounce=self._params.soft_bounce)

    def _refused(self, letter: Letter, recipients: Sequence[Recipient]) -> Mapping[int, Status]:
        """Those who had it before, where the program's copy bears a Delivered-To."""
        if self._attributes is None or "D" not in self._attributes.flags:
            return {}
        return {
            at: Status("5.4.6", f"mail forwarding loop for {recipient.address}")
            for at, recipient in enumerate(recipients)
            if letter.delivered_to(recipient.address)
        }

    def _run(self, job: Job, letter: Letter, recipients: Sequence[Recipient]) -> Status:
        attributes, template = self._attributes, self._template
        if attributes is None:
            return self._unusable(self._fault)
        if template is None:
            self._around.emit(Warn(f"{self._origin}: {self._fault}"))
            return _MISCONFIGURED
        addressed = sorted(attributes.flags & {"D", "O"})
        if addressed and len(job.recipients) > 1:
            # One copy can't bear the address of each.
            limit = f"{self._name}_destination_recipient_limit = 1"
            self._around.emit(Warn(f"{self._origin}: flag {addressed[0]} requires {limit}"))
            return _MISCONFIGURED
        if attributes.size and job.size > attributes.size:
            return Status("5.2.3", "message too large", cause=f"size={attributes.size} in master.cf")
        argv = template.argv(job, recipients)
        if job.trace == "verify":
            return Status("2.0.0", f"delivers to command: {argv[0]}")
        try:
            uid, gid = self._who(attributes)
            ran = self._around.programs.run(
                self._program(attributes, argv, uid, gid), self._pieces(job, letter, recipients)
            )
        except BadAttribute as error:
            return self._unusable(str(error))
        except NotPermitted as error:
            return Status("4.3.5", f"cannot run {argv[0]}: {error}")
        except OSError as error:
            self._around.emit(Warn(f"{argv[0]}: {error}"))
            return Status("4.3.0", "cannot run command now")
        except EOFError as error:
            return Status("4.3.0", f"error reading message: {error}")
        if ran.trouble:
            self._around.emit(Failure(ran.trouble))
        return failure(ran, argv[0]) or self._delivered(ran)

    def _unusable(self, why: str) -> Status:
        self._around.emit(Failure(f"{self._origin}: {why}"))
        return replace(_UNUSABLE, cause=f"{self._name} in master.cf", origin=f"{self._origin}: {why}")

    def _delivered(self, ran: Ran) -> Status:
        said = text_of(ran.output).strip()[:_SHOWN]
        text = f"delivered via {self._name} service" + (f" ({said})" if said else "")
        final = self._attributes is not None and "X" in self._attributes.flags
        return Status("2.0.0", text, report="" if final else "relayed")

    def _program(self, attributes: Attributes, argv: tuple[str, ...], uid: int, gid: int) -> Program:
        return Program(
            argv,
            self._environment,
            uid,
            gid,
            self._limit,
            attributes.directory,
            attributes.chroot,
            complaint="pipe: fatal: pipe_command: execvp",
        )

    def _who(self, attributes: Attributes) -> tuple[int, int]:
        """Raises BadAttribute, OSError."""
        accounts = self._around.accounts
        account = accounts.by_name(attributes.user)
        if account is None:
            raise BadAttribute(f"unknown username: {attributes.user}")
        gid: int | None = account.gid
        if attributes.group:
            gid = accounts.group(attributes.group)
        if gid is None:
            raise BadAttribute(f"unknown group: {attributes.group}")
        if account.uid == 0 or gid == 0:
            raise BadAttribute(f"user={attributes.user} has root privileges: name a user that owns nothing")
        owner = accounts.by_name(self._params.mail_owner)
        owned = owner is not None and (account.uid == owner.uid or gid == owner.gid)
        if owned and self._around.identity.may_act_as(0):
            who = f"{attributes.user}:{attributes.group}".rstrip(":")
            raise BadAttribute(f"user={who} is the mail system owner: its queue would be the program's")
        return account.uid, gid

    def _pieces(self, job: Job, letter: Letter, recipients: Sequence[Recipient]) -> Iterator[bytes]:
        assert self._attributes is not None
        flags, eol = self._attributes.flags, self._attributes.eol
        sender, first = job.sender or self._attributes.null_sender, recipients[0]
        front = envelope_line(sender, self._around.now()) if "F" in flags else ""
        if "R" in flags:
            front += f"Return-Path: <{external(sender)}>\n"
        if "O" in flags and self._params.enable_original_recipient:
            front += f"X-Original-To: {external(first.original or first.address)}\n"
        if "D" in flags:
            front += f"Delivered-To: {external(first.address)}\n"
        end = b"\n" if "B" in flags else b""
        return letter.pieces(front, end, quote=">" in flags, dots="." in flags, eol=eol)


def _usable(service: Service, params: PipeParams) -> tuple[Attributes | None, Template | None, str]:
    """What an entry says; and why it can't be used, if it can't."""
    attributes = None
    try:
        attributes = parse(service.arguments)
        return attributes, Template(attributes, params.recipient_delimiter), ""
    except BadAttribute as error:
        return attributes, None, str(error)


def problem(settings: Settings, service: Service) -> str:
    """What is wrong with an entry of master.cf whose command is pipe; empty: nothing. Raises ConfigError."""
    return _usable(service, view(PipeParams, settings, service.key))[2]


def pipe_deliverer(settings: Settings, service: Service, around: Surroundings) -> PipeDeliverer:
    """Raises ConfigError."""
    return PipeDeliverer(settings, service, view(PipeParams, settings, service.key), around)
