"""Commands that an alias, a .forward file or mailbox_command names: with whose rights, and what they are told."""

from postwarden.config.expand import ExpandError
from postwarden.deliver.local.delivery import Delivery, Place
from postwarden.deliver.local.letter import envelope_line, local_headers
from postwarden.deliver.local.macros import Names, names
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import NotPermitted, Surroundings
from postwarden.deliver.local.rights import Rights
from postwarden.deliver.programs.environment import given, harmless
from postwarden.deliver.programs.exits import failure
from postwarden.deliver.programs.ports import Program
from postwarden.deliver.programs.shell import arguments
from postwarden.mail.events import Failure, Warn
from postwarden.mail.status import Status
from postwarden.tables.keys import split_extension


class Commands:
    def __init__(self, params: LocalParams, around: Surroundings, default: Rights, config_directory: str) -> None:
        """`default`: default_privs."""
        self._params = params
        self._around = around
        self._default = default
        self._allowed = frozenset(params.command_expansion_filter)
        self._exported = given(params.import_environment, params.export_environment, config_directory)

    def run(self, delivery: Delivery, rights: Rights, command: str, place: Place) -> Status:
        """The recipient's mail, given to `command`."""
        if delivery.job.trace == "verify":
            return Status("2.0.0", f"delivers to command: {command}")
        who = self._default if rights.uid == 0 else rights
        context = _context(place.address, rights, self._params.recipient_delimiter)
        try:
            program = Program(
                arguments(command, self._params.local_command_shell),
                self._environment(delivery, context, place),
                who.uid,
                who.gid,
                float(self._params.command_time_limit),
                self._directory(context),
                file_size=self._params.mailbox_size_limit,
                script="" if self._params.local_command_shell else command,
            )
            ran = self._around.programs.run(
                program, delivery.letter.pieces(self._front(delivery, place), b"", quote=False)
            )
        except NotPermitted as error:
            return Status("4.3.5", f"cannot run command {command}: {error}")
        except (OSError, ExpandError) as error:
            self._around.emit(Warn(f"command {command}: {error}"))
            return Status("4.3.0", "cannot run command now")
        except EOFError as error:
            return Status("4.3.0", f"error reading message: {error}")
        if ran.trouble:
            self._around.emit(Failure(ran.trouble))
        return failure(ran, command) or Status("2.0.0", f"delivered to command: {command}")

    def _front(self, delivery: Delivery, place: Place) -> str:
        p = self._params
        delivered = delivery.recipient.address if p.frozen_delivered_to else place.address
        if "command" not in p.prepend_delivered_header:
            delivered = ""
        headers = local_headers(place.sender, delivery.recipient, delivered, original=p.enable_original_recipient)
        return envelope_line(place.sender, self._around.now()) + headers

    def _environment(self, delivery: Delivery, context: dict[str, str], place: Place) -> dict[str, str]:
        client = delivery.job.client
        values = {
            "HOME": context["home"],
            "SHELL": context["shell"],
            "LOGNAME": context["user"],
            "USER": context["user"],
            "LOCAL": context["local"],
            "DOMAIN": context["domain"],
            "EXTENSION": context["extension"],
            "RECIPIENT": context["recipient"],
            "ORIGINAL_RECIPIENT": delivery.recipient.original or delivery.recipient.address,
            "CLIENT_ADDRESS": client.address if client else "",
            "CLIENT_HELO": client.helo if client else "",
            "CLIENT_HOSTNAME": client.name if client else "",
            "CLIENT_PROTOCOL": client.protocol if client else "",
            "SASL_USERNAME": client.login if client else "",
        }
        # All of it may come to be read by a shell.
        told = {name: harmless(text, self._allowed) for name, text in values.items() if text}
        return {**self._exported, **told, "SENDER": harmless(place.sender, self._allowed)}

    def _directory(self, context: dict[str, str]) -> str:
        """command_execution_directory; empty where it names nothing. Raises ExpandError."""
        pattern = self._params.command_execution_directory
        if not pattern:
            return ""
        return Names(context, frozenset(self._params.execution_directory_expansion_filter)).expand(pattern)


def _context(address: str, rights: Rights, delimiter: str) -> dict[str, str]:
    """What a command is told of its recipient: all but the whole address in lower case."""
    local, _, domain = address.lower().removeprefix("\\").rpartition("@")
    user, extension = split_extension(local, delimiter)
    if "/" in extension:
        local, extension = user, ""  # it would name a file
    context = names(f"{local}@{domain}", user, extension, delimiter)
    return {**context, "recipient": address.removeprefix("\\"), "home": rights.home, "shell": rights.shell}
