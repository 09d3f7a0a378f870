"""The command line of an alias or of mailbox_command, as the program that runs it."""

_PLAIN = frozenset("1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t")
_BUILT_IN = frozenset((
    ".", ":", "!", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "done", "elif", "else", "esac",
    "eval", "exec", "exit", "export", "fc", "fg", "fi", "for", "getopts", "hash", "if", "jobs", "local", "read",
    "readonly", "return", "set", "shift", "then", "times", "trap", "type", "ulimit", "umask", "unalias", "unset",
    "until", "wait", "while",
))  # fmt: skip
"""Names that no file in PATH can have for the shell."""


def arguments(command: str, shell: str = "") -> tuple[str, ...]:
    """`shell` is local_command_shell. Without one the command is executed as it is where it has no character that means
    something to a shell, and does not begin with a command that only a shell has; else /bin/sh reads it."""
    if shell:
        return (*shell.split(), command)
    words = command.split()
    if words and words[0] not in _BUILT_IN and _PLAIN.issuperset(command):
        return tuple(words)
    return ("/bin/sh", "-c", command)
