"""Handing a message in for the user who runs the command: to the mail system, or, while it is down, into the maildrop
directory."""

import os
import pwd
from collections.abc import Iterable

from postwarden.cli.tool import Refusal, Voice
from postwarden.config.settings import Settings
from postwarden.ipc.local_socket import login_name
from postwarden.ipc.submit_client import Down, submit
from postwarden.mail.events import Warn
from postwarden.spool.maildrop import drop, maildrop_directory
from postwarden.wire.submission import ACCEPTED, DENIED, Malformed, Submission, whole


class NotAllowed(Exception):
    """This user may not submit mail; the text says who."""


def hand_in(settings: Settings, voice: Voice, submission: Submission, content: Iterable[bytes]) -> None:
    """Returns once the message is durable. `content` may be iterated twice. Raises NotAllowed, Refusal."""
    queue = settings.text("queue_directory")
    try:
        said = submit(queue, whole(submission, content))
    except Malformed as error:
        raise Refusal(str(error)) from None
    except (Down, UnicodeEncodeError) as error:
        if isinstance(error, UnicodeEncodeError):
            raise Refusal("address or name is not UTF-8") from None
        # That it went the first way too can't be excluded when nobody answered: at least once is the promise.
        _leave(settings, voice, submission, content)
        return
    if said.verdict == DENIED:
        raise NotAllowed(said.text)
    if said.verdict != ACCEPTED:
        raise Refusal(said.text)


def check_user(settings: Settings, uid: int, sender: str | None = None) -> None:
    """What the mail system will judge again when it has the message. Raises NotAllowed, Refusal."""
    # Tables take as long to import as all that a message needs while the mail system is up.
    from postwarden.config.view import view
    from postwarden.receive.params import SubmitParams
    from postwarden.receive.users import Users
    from postwarden.tables.opening import Tables
    from postwarden.tables.table import TableError

    service = settings.find_service("pickup")
    key = service.key if service is not None else ""
    users = Users(settings, key, view(SubmitParams, settings, key), Tables.of(settings), login_name)
    try:
        if not users.may_submit(uid):
            raise NotAllowed(f"User {users.name(uid)}({uid}) is not allowed to submit mail")
        if sender is not None and not users.may_send_as(uid, sender):
            raise Refusal(f"not authorized to use sender='{sender}'")
    except TableError as error:
        raise Refusal(f"user lookup error: {error}") from None


def _leave(settings: Settings, voice: Voice, submission: Submission, content: Iterable[bytes]) -> None:
    check_user(settings, os.getuid(), submission.sender)
    directory = maildrop_directory(settings.text("queue_directory"))
    try:
        drop(directory, whole(submission, content))
    except FileNotFoundError as error:
        missing = error.filename or directory
        if not os.path.exists(directory):
            raise Refusal(f"{missing}: the mail system has never been started") from None
        raise Refusal(f"queue file write error: {error}") from None
    except OSError as error:
        voice.say(Warn(f"{directory}: {error.strerror or error}"))
        raise Refusal("queue file write error") from None


def full_name(uid: int) -> str:
    """From the environment, or the password file: what precedes the first comma, `&` standing for the login name."""
    given = os.environ.get("NAME")
    if given is not None:
        return given
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return ""
    return entry.pw_gecos.partition(",")[0].replace("&", entry.pw_name.capitalize())
