"""unix:passwd.byname and unix:group.byname: the accounts of this machine, by their name."""

import grp
import pwd
import time
from collections.abc import Callable

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Origin
from postwarden.tables.keys import folded
from postwarden.tables.literal import LiteralTable
from postwarden.tables.table import Found, TableError

KEEP_SECONDS = 5.0
"""How long an answer is believed: getpwnam reads /etc/passwd anew each time, 20 µs and more, for each recipient."""
KEEP_NAMES = 10_000
NAME_LIMIT = 256
SLOW_SECONDS = 0.02
"""A look-up that takes longer stops what else the process does: from then on it is made beside it."""
LOCAL_SOURCES = frozenset(("files", "compat", "db", "altfiles", "extrausers", "systemd"))
"""Of nsswitch.conf(5): they ask no other machine."""
_SWITCH = "/etc/nsswitch.conf"


class AccountTable(LiteralTable):
    """Answers the line of passwd(5) or group(5)."""

    def __init__(
        self,
        name: str,
        map_name: str,
        origin: Origin,
        now: Callable[[], float] = time.monotonic,
        *,
        fold: bool = True,
        switch: str = _SWITCH,
    ) -> None:
        """`switch`: where nsswitch.conf is. Raises ConfigError at `origin` for another map than passwd.byname and
        group.byname."""
        super().__init__(name)
        readers = {"passwd.byname": _passwd, "group.byname": _group}
        if map_name not in readers:
            raise ConfigError(origin, f"{name}: unknown map name: {map_name}; use passwd.byname or group.byname")
        self._reader = readers[map_name]
        self._now = now
        self._fold = fold
        self.slow = not LOCAL_SOURCES.issuperset(sources(map_name.partition(".")[0], switch))
        """Other machines may be asked, or a look-up has taken long."""
        self._known: dict[str, tuple[float, str | None]] = {}

    def get(self, key: str) -> Found | None:
        now = self._now()
        known = self._known.get(key)
        if known is None or known[0] < now:
            known = (now + KEEP_SECONDS, self._read(folded(key) if self._fold else key))
            if len(self._known) >= KEEP_NAMES:
                self._known.clear()
            self._known[key] = known
        return None if known[1] is None else Found(known[1], key, self.name)

    def reload(self) -> None:
        """Forget what was believed."""
        self._known.clear()

    def _read(self, key: str) -> str | None:
        if not key or len(key) > NAME_LIMIT or "\0" in key:
            return None
        began = time.perf_counter()
        try:
            return self._reader(key)
        except KeyError:
            return None
        except OSError as error:
            raise TableError(self.name, str(error)) from error
        finally:
            if time.perf_counter() - began > SLOW_SECONDS:
                self.slow = True


class LoginTable(LiteralTable):
    """The name of a user by the number."""

    def __init__(self, login: Callable[[int], str], *, switch: str = _SWITCH) -> None:
        """`login` gives an empty one to a number without a name."""
        super().__init__("unix:passwd.byuid")
        self._login = login
        self.slow = not LOCAL_SOURCES.issuperset(sources("passwd", switch))

    def get(self, key: str) -> Found | None:
        began = time.perf_counter()
        name = self._login(int(key))
        if time.perf_counter() - began > SLOW_SECONDS:
            self.slow = True
        return Found(name, key, self.name) if name else None


def sources(database: str, switch: str) -> list[str]:
    """What nsswitch.conf(5) has for `passwd` or `group`."""
    try:
        with open(switch, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, rest = line.partition("#")[0].partition(":")
        if name.strip() == database:
            return [word for word in rest.replace("[", " [").replace("]", "] ").split() if word[0].isalnum()]
    return ["files"]


def _passwd(name: str) -> str:
    p = pwd.getpwnam(name)
    return f"{p.pw_name}:{p.pw_passwd}:{p.pw_uid}:{p.pw_gid}:{p.pw_gecos}:{p.pw_dir}:{p.pw_shell}"


def _group(name: str) -> str:
    g = grp.getgrnam(name)
    return f"{g.gr_name}:{g.gr_passwd}:{g.gr_gid}:{','.join(g.gr_mem)}"
