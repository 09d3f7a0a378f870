"""Merges that are killed at any moment, and several at once, while somebody reads: an answer is the old or the new."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.whole import PROGRAM

from postwarden.tables.opening import open_table

pytestmark = pytest.mark.slow


class Site:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.etc = base / "etc"
        self.etc.mkdir()
        self.table = f"hash:{self.etc}/aliases.merged"
        (self.etc / "main.cf").write_text(
            f"compatibility_level = 3.6\nmyhostname = mx.example.com\nalias_maps = {self.table}\n"
        )
        (self.etc / "alias-sources.cf").write_text(
            f"sources = sales\nsales.push = {base}/sales\nsales.names = sales-*\nsales.hosts = sales.example\n"
        )

    def lay_down(self, version: int, entries: int = 200) -> None:
        path = self.base / "sales.new"
        path.write_text("".join(f"sales-{n}: v{version}@sales.example\n" for n in range(entries)))
        os.utime(path, (1_000_000_000 + version, 1_000_000_000 + version))
        path.rename(self.base / "sales")

    def merge(self) -> "subprocess.Popen[bytes]":
        words = [PROGRAM, "-c", self.etc, "aliases", "merge"]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers(self) -> set[str]:
        """All that the table says: one version's, or two would be seen."""
        table = open_table(self.table, "")
        return {found.value for n in range(0, 200, 20) if (found := table.get(f"sales-{n}")) is not None}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.lay_down(0)
    assert site.merge().wait(60) == 0
    return site


def killed_at(site: Site, seconds: float) -> None:
    process = site.merge()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.long)])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(site: Site, rounds: int) -> None:
    begun = time.monotonic()
    site.lay_down(1)
    site.merge().wait(60)
    whole = time.monotonic() - begun
    chance = random.Random(7)
    for version in range(2, rounds + 2):
        before = site.answers()
        site.lay_down(version)
        killed_at(site, chance.uniform(whole / 3, whole * 1.1))
        assert site.answers() in (before, {f"v{version}@sales.example"})
        if version % 4 == 0:
            assert site.merge().wait(60) == 0
            assert site.answers() == {f"v{version}@sales.example"}
    assert site.merge().wait(60) == 0
    assert site.answers() == {f"v{rounds + 1}@sales.example"}


def test_several_merges_at_once(site: Site) -> None:
    site.lay_down(1)
    processes = [site.merge() for _ in range(4)]
    seen = reading(site, lambda: any(process.poll() is None for process in processes))
    assert [process.wait(60) for process in processes] == [0] * 4
    assert seen <= {"v0@sales.example", "v1@sales.example"}
    history = (site.etc / "alias-sources" / "history").read_text()
    assert history.count('"what":"installed"') == 2, "one of the four had something to do"


def reading(site: Site, going_on: Callable[[], bool]) -> set[str]:
    seen: set[str] = set()
    while going_on():
        found = site.answers()
        assert len(found) == 1, "of one version, all of it"
        seen |= found
    return seen
