"""sendmail(1): the front door of programs that send mail, with the options, texts and exit codes of Postfix's. It is
also `mailq` and `newaliases`."""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator

from postwarden.cli.handing_in import NotAllowed, check_user, full_name, hand_in
from postwarden.cli.sendmail_message import Content, cleaned, parse_addresses, read, recipients_in
from postwarden.cli.sendmail_options import Options, check, parse
from postwarden.cli.tool import Misuse, Refusal, Voice, configuration
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.ipc.local_socket import login_name
from postwarden.mail.address import external
from postwarden.mail.envelope import Recipient
from postwarden.mail.events import Event, Fatal, Warn, printable
from postwarden.wire.submission import Submission

EX_TEMPFAIL = 75
"""Of every failure, as in Postfix: who calls shall try again later, and never bounce what an operator can mend."""
_NO_HEADER = "No recipient addresses found in message header"
_NO_WORDS = "Recipient addresses must be specified on the command line or via the -t option"
_NAMES = {"mailq": "mailq", "newaliases": "aliases"}
_ALONE = {"mailq": "display queue mode", "flush": "flush queue mode", "daemon": "daemon mode",
          "aliases": "alias initialization mode", "smtp": "stand-alone mode"}  # fmt: skip


def main(name: str, words: list[str]) -> int:
    """Exit code 0, that of the command that does the work, or 75 with the reason on standard error and in the log."""
    voice = LateVoice(name)
    try:
        try:
            options = parse(words, _NAMES.get(name, "enqueue"), lambda text: voice.say(Warn(text)))
            check(options)
        except (Refusal, Misuse):
            _open_log(voice)
            raise
        if options.interval and options.mode != "daemon":
            return 0
        settings = configuration(options.directory)
        voice.open(settings)
        return _do(settings, options, voice)
    except Misuse as error:
        voice.print(str(error))
        voice.say(Fatal(f"usage: {name} [options]"))
    except (Refusal, NotAllowed, ConfigError) as error:
        voice.say(Fatal(str(error)))
    except Exception:
        voice.say(Fatal(f"internal error: {traceback.format_exc(limit=-6)}".replace("\n", " | ")))
    return EX_TEMPFAIL


class LateVoice(Voice):
    """Opens the log when there is something to say: as a rule there is not, and `sendmail` is run often."""

    _settings: Settings | None = None

    def open(self, settings: Settings) -> None:
        self._settings = settings

    def say(self, event: Event) -> None:
        if self._settings is not None:
            super().open(self._settings)
            self._settings = None
        super().say(event)


def _open_log(voice: Voice) -> None:
    try:
        voice.open(configuration(""))
    except (Refusal, ConfigError):
        return


def _do(settings: Settings, options: Options, voice: Voice) -> int:
    mode = options.mode
    if mode == "nothing":
        return 0
    flushing = "site" if options.site else "queue_id" if options.queue_id else ""
    if options.recipients and (mode in _ALONE or flushing):
        what = _ALONE.get(mode, f"flush {flushing}")
        raise Refusal(f"{what} requires no recipient")
    directory = settings.config_directory
    if flushing or mode in ("mailq", "flush"):
        asked = ["-s", options.site] if options.site else ["-i", options.queue_id] if options.queue_id else []
        return _other("postqueue", "postqueue", ["-c", directory, *(asked or ["-p" if mode == "mailq" else "-f"])])
    if mode == "daemon":
        return _other("service", "start", [directory])
    if mode == "aliases":
        if options.alias_file:
            return _other("postalias", "postalias", ["-c", directory, options.alias_file])
        return _other("postalias", "newaliases", [directory])
    if mode == "smtp":
        check_user(settings, os.getuid())
        return _other("sendmail_smtp", "sendmail", [directory])
    enqueue(settings, options, voice)
    return 0


def _other(module: str, name: str, words: list[str]) -> int:
    result: int = importlib.import_module(f"postwarden.cli.{module}").main(name, words)
    return result


def enqueue(settings: Settings, options: Options, voice: Voice) -> None:
    """Read a message and hand it in. Raises Refusal, NotAllowed, ConfigError."""
    uid = os.getuid()
    sender = _sender(options, uid, voice)
    verp = _verp(settings, options)
    try:
        if verp and not sender:
            raise Refusal("-V option requires non-null sender address")
        recipients = [found for word in options.recipients for found in parse_addresses(word) or [""]]
        if not recipients and not options.extract:
            raise Refusal(_NO_WORDS)
        with contextlib.closing(_content(settings, options, sender)) as content:
            if options.extract:
                recipients += recipients_in(content.head())
            if not recipients:
                raise Refusal(_NO_HEADER)
            hand_in(settings, voice, _submission(options, sender, recipients, verp), content)
    except Refusal as error:
        raise Refusal(f"{printable(sender)}({uid}): {error}") from None
    except OSError as error:
        raise Refusal(f"{printable(sender)}({uid}): standard input: {error.strerror or error}") from None
    if options.verify or options.verbose == 1:
        # The mail is in the queue: who hears of a failure now sends it again.
        with contextlib.suppress(OSError, UnicodeError):
            print(f"Mail Delivery Status Report will be mailed to <{external(sender)}>.", flush=True)


def _submission(options: Options, sender: str, recipients: Iterable[str], verp: str) -> Submission:
    name = full_name(os.getuid()) if options.full_name is None else options.full_name
    return Submission(
        sender,
        tuple(Recipient(address, "", "", options.notify) for address in recipients),
        name.translate({10: " ", 13: " "}),
        options.remote,
        options.eight_bit,
        options.ret,
        xtext(options.envid),
        verp,
        "verify" if options.verify else "record" if options.verbose == 1 else "",
    )


def _sender(options: Options, uid: int, voice: Voice) -> str:
    if options.sender is None:
        name = login_name(uid)
        if not name:
            raise Refusal("unable to find out your login name")
        return name
    found = parse_addresses(options.sender)
    if len(found) > 1:
        voice.say(Warn(f"-f option specified malformed sender: {printable(options.sender)}"))
    return found[0] if found else ""


def _verp(settings: Settings, options: Options) -> str:
    if options.verp is None:
        return ""
    delimiters = options.verp or settings.text("default_verp_delimiters")
    allowed = settings.text("verp_delimiter_filter")
    if len(delimiters) != 2 or not set(delimiters) <= set(allowed):
        raise Refusal(f"-V requires two characters from {allowed}")
    return delimiters


def _content(settings: Settings, options: Options, sender: str) -> Content:
    limit = settings.number("message_size_limit")
    if options.verify:
        return Content(_probe(sender, options.recipients), 0)
    fix = settings.text("sendmail_fix_line_endings").lower()
    if fix not in ("always", "strict", "never"):
        raise Refusal(f"bad configuration parameter sendmail_fix_line_endings value: {fix}")
    return Content(cleaned(read(sys.stdin.fileno()), dot_ends=not options.whole, fix=fix), limit)


def _probe(sender: str, recipients: Iterable[str]) -> Iterator[bytes]:
    """What stands for a message when only its recipients are tried."""
    lines = ",\n".join(f"\t{recipient}" for recipient in recipients).translate({13: " "})
    yield f"From: {external(sender)}\nSubject: probe\nTo:{lines}\n\n".encode("utf-8", "surrogateescape")


def xtext(text: str) -> str:
    """RFC 3461 4."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)
