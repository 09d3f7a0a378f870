"""Acting for a user without threads: the effective ids of a worker change for one write, and back.

setgroups, setegid, seteuid and back cost 10 µs in a process of one thread, 390 µs with four idle ones, since the
C library then has to persuade each of them: hence a worker has none.
"""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

from postwarden.deliver.local.ports import Account, NotPermitted

EX_TEMPFAIL = 75


class SystemAccounts:
    """The password file, and what nsswitch.conf puts beside it."""

    def by_name(self, name: str) -> Account | None:
        try:
            return _account(pwd.getpwnam(name))
        except (KeyError, ValueError):
            return None

    def by_uid(self, uid: int) -> Account | None:
        try:
            return _account(pwd.getpwuid(uid))
        except KeyError:
            return None

    def group(self, name: str) -> int | None:
        try:
            return grp.getgrnam(name).gr_gid
        except (KeyError, ValueError):
            return None


class RootIdentity:
    """Of a process whose real user is root. It rests as somebody who owns nothing, so that a forgotten switch fails."""

    def __init__(self, uid: int, gid: int) -> None:
        self._now = (0, 0)
        self._become(uid, gid)

    @contextmanager
    def acting_as(self, uid: int, gid: int) -> Iterator[None]:
        before = self._now
        try:
            if before != (uid, gid):
                self._become(uid, gid)
            yield
        finally:
            if before != (uid, gid):
                self._become(*before)

    def may_act_as(self, uid: int) -> bool:
        return True

    def _become(self, uid: int, gid: int) -> None:
        try:
            os.seteuid(0)
            os.setgroups([gid])
            os.setegid(gid)
            os.seteuid(uid)
        except OSError:
            # Neither one nor the other: nothing that is done now would be done in the right name.
            os._exit(EX_TEMPFAIL)
        self._now = (uid, gid)


class OwnIdentity:
    """Of a process of an ordinary user: it is nobody else."""

    def __init__(self) -> None:
        self._uid = os.geteuid()

    @contextmanager
    def acting_as(self, uid: int, gid: int) -> Iterator[None]:
        if uid != self._uid:
            me = _name(self._uid)
            raise NotPermitted(f"postwarden runs as {me} and may not write for {_name(uid)}: start it as root")
        yield

    def may_act_as(self, uid: int) -> bool:
        return uid == self._uid


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
