"""One program, many names: `postwarden COMMAND`, and Postfix's commands when it is called by a link (`compat`)."""

import importlib
import os
import sys

COMMANDS = {
    "start": "service", "start-fg": "service", "stop": "service", "abort": "service", "reload": "service",
    "flush": "service", "status": "service", "check": "check", "compat": "compat",
    "queue": "queue", "import-queue": "import_queue", "aliases": "aliases", "explain": "explain",
    "logrotate": "logrotate", "set-permissions": "upkeep", "upgrade-configuration": "upkeep",
}  # fmt: skip
TOOLS = {"postmap": "postmap", "postalias": "postalias", "newaliases": "sendmail", "postconf": "postconf",
         "postqueue": "postqueue", "postsuper": "postsuper", "sendmail": "sendmail", "mailq": "sendmail",
         "postlog": "postlog", "postcat": "postcat"}  # fmt: skip
USAGE = """\
usage: postwarden [-c DIR] COMMAND

  start       start the gateway in the background
  start-fg    start it in the foreground, for a supervisor or a container
  stop        end it in an orderly way: deliveries in progress are finished
  abort       end it at once
  reload      read the configuration again; no session is cut
  flush       try all deferred mail now
  status      is it running?
  queue       what waits: by destination, sender, reason, age; the oldest; what is next
  check       is the configuration right? Names what is not, by file and line; -j as JSON, -n without DNS
  explain     where mail to an ADDRESS goes; what happened to a QUEUE-ID or '<MESSAGE-ID>'; why clients were
              --refused; how a session would be answered: --client IP --from SENDER --to RECIPIENT
  logrotate   give the log file a dated name, compress it, and write to a new one
  set-permissions        make what is missing of the directories, and mend their modes
  upgrade-configuration  the same, for packages that call it
  import-queue [DIR]
               take over the unsent mail of a Postfix that does not run
  aliases     one alias table from the files of many owners; who really gets the mail of an address; lint
  compat DIR  make links with Postfix's names in DIR: postfix, sendmail, mailq, postqueue, postconf, postmap, ...
"""


def main() -> int:
    """Run the command that the program's name or the first word gives; the exit code."""
    _open_standard_files()
    name = os.path.basename(sys.argv[0])
    if name in TOOLS:
        return run(TOOLS[name], name, sys.argv[1:])
    directory, words = options(sys.argv[1:])
    if words and words[0] in TOOLS:
        if directory != options([])[0]:
            os.environ["MAIL_CONFIG"] = directory
        return run(TOOLS[words[0]], words[0], words[1:])
    if not words or words[0] in ("help", "--help", "-h"):
        print(USAGE, end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 1
    if words[0] not in COMMANDS:
        prefix = "postfix/postfix-script" if name == "postfix" else "postwarden"
        known = ", ".join(command for command in COMMANDS if command != "start")
        print(f"{prefix}: fatal: unknown command: '{words[0]}'. Usage: {name} start (or {known})", file=sys.stderr)
        return 1
    return run(COMMANDS[words[0]], words[0], [directory, *words[1:]])


def _open_standard_files() -> None:
    """Those that whoever called us has closed, as Postfix's commands do it: else the next file that is opened, or a
    connection, would have such a number, and what is printed would go there."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
            os.set_inheritable(fd, True)
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115


def options(words: list[str]) -> tuple[str, list[str]]:
    """`-c DIR` (before the command, as postfix(1) has it; -v and -D are taken without effect), and the rest."""
    directory = os.environ.get("MAIL_CONFIG", "") or "/etc/postfix"
    words = list(words)
    while words and words[0].startswith("-") and words[0] not in ("--help", "-h"):
        word = words.pop(0)
        if word == "-c" and words:
            directory = words.pop(0)
        elif word.startswith("-c") and len(word) > 2:
            directory = word[2:]
        elif not set(word[1:]) <= {"v", "D"}:
            print(f"postwarden: fatal: unknown option {word}", file=sys.stderr)
            sys.exit(1)
    return os.path.abspath(directory), words


def run(module: str, name: str, words: list[str]) -> int:
    """Import the one module that the command needs (a start costs less than all of them), and call its `main`."""
    try:
        result: int = importlib.import_module(f"postwarden.cli.{module}").main(name, words)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        return 130
    return result
