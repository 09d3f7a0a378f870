"""start, start-fg, stop, abort, reload, flush, status: postfix(1), with its texts and exit codes."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from postwarden import rehearsal
from postwarden.cli.unsent import unsent
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.mail.events import Event, Failure, Fatal, Notice, Warn
from postwarden.net.log import FileSink, MailLog, Sink, SyslogSink
from postwarden.roles import lock
from postwarden.roles.handover import LogTarget
from postwarden.roles.privileges import NoSuchUser, look_up, raise_open_files
from postwarden.spool.files import make_spool, strange_file
from postwarden.spool.layout import spool_directory
from postwarden.spool.maildrop import maildrop_directory, make_maildrop
from postwarden.tables.check import problems

_PROGRAM = "postfix-script"
_STOP_LIMIT = 90.0
_PATIENCE = 5.0
"""Who waits longer for a stop wants to know for what."""


class Stop(Exception):
    """The command fails; the text is said as fatal."""


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory. Exit code 0, or 1 with the reason on standard error and in the log."""
    if len(words) > 1 and words[1].startswith("-"):
        # Postfix passes over it, and `postfix start -c DIR` acts on the system that /etc/postfix describes.
        print(f"postfix: fatal: {words[1]} comes before the command: postfix [-c config_dir] {name}", file=sys.stderr)
        return 1
    if not os.path.isdir(words[0]) and words[0] != "/etc/postfix":
        # Without a file the built-in defaults are meant; without its directory a name was mistyped.
        print(f"postfix: fatal: open {words[0]}/main.cf: No such file or directory", file=sys.stderr)
        return 1
    try:
        settings = load(words[0])
    except ConfigError as error:
        print(f"postfix: fatal: {error}", file=sys.stderr)
        return 1
    voice = Voice(settings)
    try:
        return {
            "start": start, "start-fg": start_foreground, "stop": stop, "abort": abort, "reload": reload,
            "flush": flush, "status": status,
        }[name](settings, voice)  # fmt: skip
    except Stop as fatal:
        voice.say(Fatal(str(fatal)))
        return 1


class Voice:
    """Says what a command does: to the terminal, and to the log, as postlog(1) does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def say(self, event: Event) -> None:
        if event.level != "info" or sys.stderr.isatty():
            level = "" if event.level == "info" else f"{event.level}: "
            print(f"postfix/{_PROGRAM}: {level}{event}", file=sys.stderr)
        try:
            target = LogTarget(self._settings)
        except OSError:
            return
        if target.path in ("/dev/stdout", "/dev/stderr"):
            target.close()
            return
        sink: Sink = SyslogSink(target.to)
        if target.to == "fd":
            sink = FileSink(target.fd, self._settings.text("myhostname"))
        log = MailLog(sink, self._settings.text("syslog_name"))
        log.emit(_PROGRAM, event)
        log.close()


def start(settings: Settings, voice: Voice) -> int:
    """Start in the background; returns when the gateway accepts mail."""
    prepare(settings, voice)
    if settings.text("maillog_file") in ("/dev/stdout", "/dev/stderr"):
        raise Stop("maillog_file names the terminal: use start-fg")
    voice.say(Notice("starting the Postfix mail system"))
    reader, writer = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        raise Stop(f"fork: {error}") from None
    if child:
        os.close(writer)
        with open(reader, "rb") as told:
            word = told.read()
        if word != b"+":
            raise Stop(f"mail system startup failed: {word.decode() or 'the log says why'}")
        return 0
    os.close(reader)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)

    def ready() -> None:
        os.write(writer, b"+")
        os.close(writer)

    def failed(reason: str) -> None:
        os.write(writer, reason.encode())

    os._exit(serve(settings, voice, ready, failed))


def start_foreground(settings: Settings, voice: Voice) -> int:
    """Start, and return when the gateway has ended."""
    prepare(settings, voice)
    voice.say(Notice("starting the Postfix mail system"))
    return serve(settings, voice, lambda: None, lambda reason: None)


def serve(settings: Settings, voice: Voice, ready: Callable[[], None], failed: Callable[[str], None]) -> int:
    """Be the master: hold the locks, and run until told to stop. `failed` is told why it can't be."""
    from postwarden.roles.master import ORDERS, Master

    async def live() -> int:
        return await Master(settings, ready).run()

    # From now on our process id can be read: what is said to it before the master hears would end it.
    signal.pthread_sigmask(signal.SIG_BLOCK, ORDERS)
    held = []
    try:
        held.append(lock.hold(lock.pid_file(settings.text("queue_directory"))))
        held.append(lock.hold(data_lock(settings), mail_owner(settings)))
        raise_open_files()
        return asyncio.run(live())
    except lock.AlreadyRunning as error:
        reason = f"the Postfix mail system is already running: {error}"  # of which queue, or of another's data
    except (ConfigError, OSError) as error:
        reason = str(error)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ORDERS)
    voice.say(Fatal(reason))
    failed(reason)
    return 1


def stop(settings: Settings, voice: Voice) -> int:
    """End in an orderly way, and return when it has ended; what is stuck is killed."""
    pid = running(settings)
    voice.say(Notice("stopping the Postfix mail system"))
    os.kill(pid, signal.SIGTERM)
    begun, told = time.monotonic(), False
    while lock.running(settings.text("queue_directory")):
        waited = time.monotonic() - begun
        if waited > _PATIENCE and not told:
            voice.say(Notice("deliveries in progress are being finished; `postfix abort` ends them at once"))
            told = True
        if waited > _STOP_LIMIT:
            voice.say(Warn("stopping the Postfix mail system with force"))
            os.kill(pid, signal.SIGQUIT)
            return 0
        time.sleep(0.02)
    return 0


def abort(settings: Settings, voice: Voice) -> int:
    """End at once."""
    pid = running(settings)
    voice.say(Notice("aborting the Postfix mail system"))
    os.kill(pid, signal.SIGQUIT)
    return 0


def reload(settings: Settings, voice: Voice) -> int:
    """Have the configuration read again, unless it is wrong: then the running one stays and this says why."""
    pid = running(settings)
    complain(settings, voice)
    voice.say(Notice("refreshing the Postfix mail system"))
    os.kill(pid, signal.SIGHUP)
    return 0


def flush(settings: Settings, voice: Voice) -> int:
    """Have all deferred mail tried now: `postqueue -f`, whose exit codes scripts know."""
    from postwarden.cli import postqueue

    return postqueue.main("postqueue", ["-c", settings.config_directory, "-f"])


def status(settings: Settings, voice: Voice) -> int:
    """Exit 0 and the process id when it runs, else 1."""
    pid = lock.running(settings.text("queue_directory"))
    if not pid:
        voice.say(Notice(_hidden(settings) or "the Postfix mail system is not running"))
        return 1
    voice.say(Notice(f"the Postfix mail system is running: PID: {pid}"))
    return 0


def complain(settings: Settings, voice: Voice) -> None:
    """Say everything that is wrong with the configuration; Stop when it can't be used."""
    if not os.path.isdir(settings.config_directory):
        voice.say(Warn(f"{settings.config_directory}: no such directory: the built-in defaults hold"))
    errors = []
    for problem in dict.fromkeys([*problems(settings), *rehearsal.problems(settings), *rehearsal.warnings(settings)]):
        if problem.severity == "error":
            errors.append(problem)
        else:
            voice.say(Warn(f"{problem.origin}: {problem.text}"))
    for problem in errors[:-1]:
        voice.say(Failure(f"{problem.origin}: {problem.text}"))
    if errors:
        raise Stop(f"{errors[-1].origin}: {errors[-1].text}")


def prepare(settings: Settings, voice: Voice) -> None:
    """Everything that can be known to fail before the start: configuration, users, directories, a second start."""
    if lock.running(settings.text("queue_directory")):
        raise Stop("the Postfix mail system is already running")
    complain(settings, voice)
    owner = mail_owner(settings)
    try:
        make_directories(settings, owner)
        strange = owner and strange_file(spool_directory(settings.text("queue_directory")), owner)
    except OSError as error:
        raise Stop(f"queue_directory or data_directory: {error}") from None
    if strange:
        user = settings.text("mail_owner")
        raise Stop(
            f"{strange} does not belong to {user}; `postfix set-permissions` gives a queue that was copied to him"
        )
    left = unsent(settings.text("queue_directory"))
    if left:
        voice.say(Warn(left))


def mail_owner(settings: Settings) -> tuple[int, int] | None:
    """Whose the files are that root makes for the roles; None if we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        account = look_up(settings.text("mail_owner"))
    except NoSuchUser as error:
        raise Stop(f"{settings.origin('mail_owner')}: {error}") from None
    return account.pw_uid, account.pw_gid


def running(settings: Settings) -> int:
    pid = lock.running(settings.text("queue_directory"))
    if not pid:
        raise Stop(_hidden(settings) or "the Postfix mail system is not running")
    return pid


def _hidden(settings: Settings) -> str:
    """Why this user can't know whether it runs; empty if he can."""
    path = lock.pid_file(settings.text("queue_directory"))
    if os.access(path, os.R_OK, effective_ids=True) or not os.access(path, os.F_OK):
        return ""
    return f"{path}: Permission denied: this command is for the user who started the mail system, and for root"


def data_lock(settings: Settings) -> Path:
    """Postfix's second lock: one mail system for each data directory."""
    return Path(settings.text("data_directory")) / "master.lock"


def make_directories(settings: Settings, owner: tuple[int, int] | None) -> None:
    """Make what is missing of the queue's and the data's directories, ours for `owner` alone. Raises OSError."""
    queue = settings.text("queue_directory")
    os.makedirs(os.path.join(queue, "pid"), exist_ok=True)
    data = settings.text("data_directory")
    if not os.path.isdir(data):
        os.makedirs(data, mode=0o700)
        if owner is not None:
            os.chown(data, *owner)
    make_spool(spool_directory(queue), owner)
    make_maildrop(maildrop_directory(queue))
