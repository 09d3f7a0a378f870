"""Who a process is: giving up root, and what it may use of the machine."""

import contextlib
import os
import pwd
import resource


class NoSuchUser(Exception):
    """The text says how to make the user."""


def look_up(user: str) -> pwd.struct_passwd:
    """The account `user`. Raises NoSuchUser; an account with uid 0 is refused, since it gives up nothing."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise NoSuchUser(
            f"mail_owner = {user}: there is no such user. Make it: "
            f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}"
        ) from None
    if account.pw_uid == 0:
        raise NoSuchUser(f"mail_owner = {user}: this user is root; name one that owns no files and runs nothing else")
    return account


def become(user: str) -> None:
    """Become `user` for good: groups, group, user, in this order. Without effect for an empty name."""
    if not user:
        return
    account = look_up(user)
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


def raise_open_files(wanted: int = 1 << 20) -> int:
    """Raise RLIMIT_NOFILE as far as the system lets us; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for target in (wanted, 1 << 16, hard):
        if hard != resource.RLIM_INFINITY and target > hard and os.geteuid() != 0:
            target = hard
        if target <= soft:
            continue
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, max(target, hard)))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
