"""`postfix set-permissions` and `postfix upgrade-configuration`, which packages and scripts call: ours has no files of
its own beside the queue's, and reads the configuration of every Postfix since 2.3 as it is."""

import os
import re
import sys

from postwarden.cli.service import Stop, Voice, mail_owner, make_directories
from postwarden.config.errors import ConfigError
from postwarden.config.settings import load
from postwarden.mail.events import Fatal, Notice
from postwarden.spool.files import give_spool
from postwarden.spool.layout import spool_directory

_OVERRIDE = re.compile(r"([a-z0-9_]+)=(.*)", re.DOTALL)
_USAGE = "usage: postfix {} [name=value ...]"


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory, the others override what main.cf says, for this command. Exit code 0,
    or 1 with the reason on standard error and in the log."""
    overrides = {}
    for word in words[1:]:
        found = _OVERRIDE.fullmatch(word)
        if found is None:
            print(f"postfix/post-install: Error: {_USAGE.format(name)}", file=sys.stderr)
            return 1
        overrides[found[1]] = found[2]
    try:
        settings = load(words[0], overrides)
    except ConfigError as error:
        print(f"postfix: fatal: {error}", file=sys.stderr)
        return 1
    voice = Voice(settings)
    try:
        if os.geteuid() != 0 and name == "set-permissions":
            raise Stop("set-permissions: to be run by root")
        try:
            owner = mail_owner(settings)
            make_directories(settings, owner)
            if name == "set-permissions" and owner is not None:
                given = give_spool(spool_directory(settings.text("queue_directory")), owner)
                if given:
                    voice.say(Notice(f"{given} files of the queue given to {settings.text('mail_owner')}"))
        except OSError as error:
            raise Stop(f"queue_directory or data_directory: {error}") from None
    except Stop as error:
        voice.say(Fatal(str(error)))
        return 1
    if name == "upgrade-configuration":
        voice.say(Notice("main.cf and master.cf need no change"))
    return 0
