"""Whether a program that mail is given to could be run: what can be seen of that without running it."""

import grp
import os
import pwd
import re
import stat

from postwarden.config.settings import Service
from postwarden.deliver.pipe.attributes import parse
from postwarden.deliver.programs.shell import arguments

_FILE = re.compile(r"/[\w/.+-]+")
_SEVERAL = re.compile(r"[;|&\n]")


def unusable(program: str) -> str:
    """Why the file can't be executed; empty: it can, or nobody can say that from here (a name without its directory, a
    macro, a directory that is closed to whoever asks)."""
    if _FILE.fullmatch(program) is None:
        return ""
    try:
        mode = os.stat(program).st_mode
    except PermissionError:
        return ""
    except OSError:
        return f"{program} is not there"
    return "" if stat.S_ISREG(mode) and mode & 0o111 else f"{program} is no program, or not executable"


def unusable_command(command: str, shell: str = "") -> str:
    """The same of a command line of local(8). Of several commands in one line nothing is said."""
    argv = arguments(command, shell)
    if argv[0] != "sh":
        return unusable(argv[0])
    return "" if _SEVERAL.search(command) else unusable(next(iter(command.split()), ""))


def unusable_pipe(service: Service) -> str:
    """The same of a transport that is pipe(8), and of whom it runs the program as. Raises BadAttribute."""
    attributes = parse(service.arguments)
    if not known_user(attributes.user):
        return f"there is no user {attributes.user}"
    if attributes.group and not _known_group(attributes.group):
        return f"there is no group {attributes.group}"
    return "" if attributes.chroot else unusable(attributes.argv[0])


def known_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True


def _known_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except (KeyError, ValueError):
        return False
    return True
