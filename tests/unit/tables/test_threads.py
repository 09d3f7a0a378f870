"""Tables that are asked from several threads at once."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from postwarden.tables import regexp
from postwarden.tables.definition import in_file
from postwarden.tables.opening import open_table
from postwarden.tables.pcre2 import Expression
from postwarden.tables.posix_regex import EXTENDED, Regex
from postwarden.tables.remote.domains import Domains
from postwarden.tables.table import Found


def together(work: Callable[[int], object], threads: int = 4, times: int = 400) -> list[object]:
    """What each thread's calls gave that was not its number."""
    wrong: list[object] = []
    start = threading.Barrier(threads)

    def run(number: int) -> None:
        start.wait(10)
        for _ in range(times):
            try:
                found = work(number)
            except Exception as error:
                found = error
            if found != str(number):
                wrong.append(found)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join(60)
    return wrong


@pytest.mark.parametrize("kind", [lambda: Regex("^x*([0-9])$", EXTENDED), lambda: Expression("^x*([0-9])$", 0)])
def test_an_expression(kind: Callable[[], Regex | Expression]) -> None:
    expression = kind()
    assert together(lambda number: (expression.match("x" * 2000 * number + str(number)) or ("", ""))[1]) == []


def test_a_table_of_a_data_base(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "db") as base:
        base.execute("create table t (k text, v text)")
        base.executemany("insert into t values (?, ?)", [(str(n), str(n)) for n in range(10)])
    base.close()
    (tmp_path / "s.cf").write_text(f"dbpath = {tmp_path}/db\nquery = select v from t where k = '%s'\n")
    table = open_table("sqlite:./s.cf", str(tmp_path))

    def look_up(number: int) -> str:
        if number == 0:
            table.reload()
        found = table.get(str(number))
        return "" if found is None else found.value

    assert together(look_up, times=100) == []
    table._base.close()  # type: ignore[attr-defined]


class OneAtATime:
    """A table that is not made for two threads: it tells one that finds another within."""

    name, fixed = "one:at-a-time", True

    def __init__(self) -> None:
        self._within = threading.Lock()
        self.trodden_on = 0

    def get(self, key: str) -> Found | None:
        if not self._within.acquire(blocking=False):
            self.trodden_on += 1
            return None
        try:
            time.sleep(0)  # whoever else is about to come does so now
            return Found(key, key, self.name)
        finally:
            self._within.release()

    def stale(self) -> bool:
        return False

    def reload(self) -> None: ...


def test_the_domains_of_a_data_base(tmp_path: Path) -> None:
    (tmp_path / "s.cf").write_text("domain = one:at-a-time\n")
    table = OneAtATime()
    definition, _ = in_file(str(tmp_path / "s.cf"))
    domains = Domains(definition, lambda name, origin: table)
    assert together(lambda number: str(number) if domains.hold(f"x@d{number}.example") else "no") == []
    assert table.trodden_on == 0


@pytest.mark.parametrize("kind", ["regexp", "pcre"])
def test_many_rules_are_slow(kind: str) -> None:
    def rules(number: int) -> str:
        return f"{kind}:{{{','.join(f'{{/^x{n}$/ y}}' for n in range(number))}}}"

    assert not open_table(rules(3), "/").slow  # type: ignore[attr-defined]
    assert open_table(rules(regexp.LARGE + 1), "/").slow  # type: ignore[attr-defined]


def test_a_look_up_that_takes_long_makes_a_table_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    table = open_table("pcre:{{/^a/ b}}", "/")
    table.get("a")
    monkeypatch.setattr(regexp, "SLOW_SECONDS", -1.0)
    table.get("a")
    assert table.slow  # type: ignore[attr-defined]
