"""Owners and modes: who could change what the mail system does, or read what is in its queue."""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator

from postwarden.cli.checking.findings import Finding, error, note, warning
from postwarden.cli.checking.rows import file_of
from postwarden.cli.checking.tables import named
from postwarden.config.settings import Settings
from postwarden.mail.decision import Origin
from postwarden.roles.privileges import NoSuchUser, look_up
from postwarden.spool.files import strange_file
from postwarden.spool.layout import spool_directory
from postwarden.spool.maildrop import maildrop_directory

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_REPAIR = "`postfix set-permissions` mends it"


def findings(settings: Settings) -> Iterator[Finding]:
    owner: pwd.struct_passwd | None = None
    if os.geteuid() == 0:
        try:
            owner = look_up(settings.text("mail_owner"))
        except NoSuchUser as fault:
            yield error(settings.origin("mail_owner"), what=str(fault), why="the gateway can't start")
    queue = _state(settings.text("queue_directory"))
    if os.geteuid() != 0 and queue is not None and queue.st_uid != os.geteuid():
        yield note(
            settings.origin("queue_directory"),
            what="this check runs as an ordinary user",
            why="what only root or the mail system may read is not seen as they see it",
            cure="run it as root",
        )
    yield from _configuration(settings)
    yield from _directories(settings, owner)


def _configuration(settings: Settings) -> Iterator[Finding]:
    directory = settings.config_directory
    paths: dict[str, Origin] = {}
    for name in ("", "main.cf", "master.cf"):
        path = os.path.join(directory, name).rstrip("/")
        paths[path] = Origin(path, 0, "")
    for _, item, origin in named(settings):
        file = file_of(settings, item)
        if file:
            paths.setdefault(file, origin)
    for path, origin in paths.items():
        yield from _changeable(path, origin)


def _changeable(path: str, origin: Origin) -> Iterator[Finding]:
    try:
        state = os.stat(path)
    except OSError:
        return
    why = "who may write it decides what the mail system does, and root reads it"
    if state.st_mode & _OTHERS:
        whom = "everybody" if state.st_mode & stat.S_IWOTH else f"the group {state.st_gid}"
        if state.st_mode & stat.S_IWOTH or state.st_gid != 0:
            yield warning(origin, what=f"{path} can be written by {whom}", why=why, cure=f"chmod go-w {path}")
    if state.st_uid not in (0, os.geteuid()):
        yield warning(
            origin, what=f"{path} belongs to {_name(state.st_uid)}, and not to root", why=why,
            cure=f"chown root {path}",
        )  # fmt: skip


def _directories(settings: Settings, owner: pwd.struct_passwd | None) -> Iterator[Finding]:
    queue, data = settings.text("queue_directory"), settings.text("data_directory")
    origin = settings.origin("queue_directory")
    if owner is not None:
        strange = ""
        with contextlib.suppress(FileNotFoundError):  # there will be one when it has run
            strange = strange_file(spool_directory(queue), (owner.pw_uid, owner.pw_gid))
        if strange:
            why = "the gateway does not start"
            yield error(origin, what=f"{strange} does not belong to {owner.pw_name}", why=why, cure=_REPAIR)
        state = _state(data)
        if state is not None and state.st_uid != owner.pw_uid:
            yield warning(
                settings.origin("data_directory"),
                what=f"{data} belongs to {_name(state.st_uid)}, and not to {owner.pw_name}",
                why="the mail system can't keep its files there",
                cure=f"chown {owner.pw_name} {data}",
            )
    for path in (queue, data):
        state = _state(path)
        if state is not None and state.st_mode & stat.S_IWOTH:
            yield warning(
                origin if path == queue else settings.origin("data_directory"),
                what=f"everybody may write to {path}",
                why="files of the mail system can be put there and taken away by anybody",
                cure=f"chmod o-w {path}",
            )
    drop = maildrop_directory(queue)
    state = _state(drop)
    if state is not None and stat.S_IMODE(state.st_mode) != 0o1733:
        yield warning(
            origin,
            what=f"{drop} has the mode {stat.S_IMODE(state.st_mode):o}, and not 1733",
            why="local users can't hand in mail while the gateway is down, or may see or remove that of others",
            cure=_REPAIR,
        )


def _state(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
