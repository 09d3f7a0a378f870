"""CPU time and memory of a tree of processes, from /proc."""

import os
from collections import Counter
from pathlib import Path

_TICK = 1_000_000 / os.sysconf("SC_CLK_TCK")
"""Microseconds."""


class Tree:
    """All processes below `root`. CPU of a process that has ended is in its parent's account once it was waited for;
    `watch`, called a few times a second, remembers which role had used it."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._last: dict[int, tuple[str, float]] = {}
        self._ended: Counter[str] = Counter()

    def pids(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                fields = _stat(int(entry))
                if fields is not None:
                    children.setdefault(int(fields[1]), []).append(int(entry))
        found, todo = [], [self._root]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, ())
        return found

    def watch(self) -> None:
        now: dict[int, tuple[str, float]] = {}
        for pid in self.pids():
            fields = _stat(pid)
            if fields is not None:
                now[pid] = (self._role(pid, fields[0]), (int(fields[11]) + int(fields[12])) * _TICK)
        for pid, (role, spent) in self._last.items():
            if pid not in now:
                self._ended[role] += int(spent)
        self._last = now

    def total(self) -> float:
        """Microseconds of CPU, ended children included."""
        total = 0.0
        for pid in self.pids():
            fields = _stat(pid)
            if fields is not None:
                total += sum(map(int, fields[11:15])) * _TICK
        return total

    def by_role(self) -> Counter[str]:
        """Microseconds by role or program, as far as `watch` has seen them."""
        self.watch()
        spent = Counter(self._ended)
        for role, used in self._last.values():
            spent[role] += int(used)
        return spent

    def by_thread(self) -> Counter[str]:
        """Microseconds by `role/thread`, of threads that still run and are not their process's only one."""
        spent: Counter[str] = Counter()
        for pid in self.pids():
            fields = _stat(pid)
            tasks = sorted(Path(f"/proc/{pid}/task").glob("*")) if fields is not None else []
            if fields is None or len(tasks) < 2:
                continue
            role = self._role(pid, fields[0])
            for task in tasks:
                of_task = _fields(task / "stat")
                if of_task is not None:
                    name = "main" if task.name == str(pid) else of_task[0]
                    spent[f"{role}/{name}"] += int((int(of_task[11]) + int(of_task[12])) * _TICK)
        return spent

    def memory(self) -> int:
        """Bytes in all processes: proportional set size, where shared pages count once; resident size without it."""
        return sum(_memory(pid) for pid in self.pids())

    def _role(self, pid: int, comm: str) -> str:
        known = self._last.get(pid)
        if known is not None and not known[0].startswith("python"):
            return known[0]
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return comm
        if b"postwarden.roles" in words:
            at = words.index(b"postwarden.roles")
            return words[at + 1].decode() if at + 1 < len(words) else comm
        return "master" if pid == self._root or any(word.endswith(b"/postwarden") for word in words) else comm


def _stat(pid: int) -> list[str] | None:
    return _fields(Path(f"/proc/{pid}/stat"))


def _fields(path: Path) -> list[str] | None:
    """[name, parent, …]: field n of proc(5) is at n - 3, but for the name. None when it has ended."""
    try:
        text = path.read_text()
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    rest = text[text.rindex(")") + 2 :].split()
    return [name, *rest[1:]]


def _memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
