"""In whose name a file is written."""

from msgspec import Struct

from postwarden.deliver.local.ports import Account


class Rights(Struct, frozen=True):
    """`uid` 0 in `TRUSTED` only: whoever wrote the alias is root, and files then belong to default_privs."""

    uid: int
    gid: int


TRUSTED = Rights(0, 0)


def of(account: Account) -> Rights:
    return Rights(account.uid, account.gid)
