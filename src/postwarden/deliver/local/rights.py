"""In whose name a file is written, or a program runs."""

from msgspec import Struct

from postwarden.deliver.local.ports import Account


class Rights(Struct, frozen=True):
    """`uid` 0 in `TRUSTED` only: whoever wrote the alias is root, and files then belong to default_privs."""

    uid: int
    gid: int
    home: str = ""
    shell: str = ""
    """What a program is told of the user."""


TRUSTED = Rights(0, 0)


def of(account: Account) -> Rights:
    return Rights(account.uid, account.gid, account.home, account.shell)
