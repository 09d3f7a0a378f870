"""The command line of an alias or of mailbox_command, as the program that runs it."""

_PLAIN = frozenset("1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t")


def arguments(command: str, shell: str = "") -> tuple[str, ...]:
    """`shell` is local_command_shell. Without one the command is executed as it is where it has no character that means
    something to a shell; else /bin/sh reads it. `Program.script` is for what no file has the name of."""
    if shell:
        return (*shell.split(), command)
    words = command.split()
    return tuple(words) if words and _PLAIN.issuperset(command) else ("sh", "-c", command)
