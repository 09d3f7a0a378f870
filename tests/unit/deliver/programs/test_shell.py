"""Which commands need a shell; as local(8) of Postfix 3.7 decides it."""

import pytest

from postwarden.deliver.programs.environment import exported, harmless
from postwarden.deliver.programs.shell import arguments


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("/bin/true", ("/bin/true",)),
        ("  /usr/bin/procmail\t-t  -a x ", ("/usr/bin/procmail", "-t", "-a", "x")),
        ("true", ("true",)),
        ("exit 75", ("exit", "75")),
        ("LANG=C true", ("LANG=C", "true")),
        ("", ("sh", "-c", "")),
        (" ", ("sh", "-c", " ")),
        ('/usr/bin/procmail -a "$EXTENSION"', ("sh", "-c", '/usr/bin/procmail -a "$EXTENSION"')),
        ("a;b", ("sh", "-c", "a;b")),
        ("cat > x", ("sh", "-c", "cat > x")),
        ("a\nb", ("sh", "-c", "a\nb")),
        ("ä", ("sh", "-c", "ä")),
    ],
)
def test_arguments(command: str, argv: tuple[str, ...]) -> None:
    assert arguments(command) == argv


def test_another_shell_gets_every_command() -> None:
    assert arguments("/bin/true", "/bin/smrsh -c") == ("/bin/smrsh", "-c", "/bin/true")


def test_exported() -> None:
    ours = {"TZ": "UTC", "PATH": "/evil", "SECRET": "x"}
    assert exported(("TZ", "LANG", "A=b=c", "{ B = c d }"), ours) == {
        "TZ": "UTC",
        "A": "b=c",
        "B": "c d",
        "PATH": "/usr/bin:/bin",
    }


def test_the_path_is_ours() -> None:
    assert exported(("PATH", "PATH=/evil"), {"PATH": "/evil"})["PATH"] == "/usr/bin:/bin"


def test_harmless() -> None:
    assert harmless("a`b$(c)\n", frozenset("abc")) == "a_b__c__"
