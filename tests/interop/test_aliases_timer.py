"""The timer of alias sources in a gateway that runs: what lands is in effect soon, without a reload."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.talk import answer, send
from tests.whole import Gateway, children, running, until

pytestmark = pytest.mark.slow


class Site:
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.land = gateway.base / "land"

    def lay_down(self, name: str, text: str) -> None:
        self.land.mkdir(exist_ok=True)
        (self.land / name).write_text(text)

    def write_sources(self, *names: str) -> None:
        lines = [f"sources = {' '.join(names)}", "interval = 3600"]
        lines += [f"{n}.push = {self.land}/{n}\n{n}.names = {n}, {n}-*\n{n}.files = {self.land}/*" for n in names]
        path = self.gateway.etc / "alias-sources.new"
        path.write_text("\n".join(lines) + "\n")
        path.rename(self.gateway.etc / "alias-sources.cf")

    def answer(self, name: str) -> str:
        return answer(self.gateway.port, f"{name}@mx.example.com")

    def known(self, name: str) -> Callable[[], bool]:
        return lambda: self.answer(name).startswith("250")

    def send(self, name: str) -> None:
        send(self.gateway.port, f"{name}@mx.example.com", "hello")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("timer")
    table = f"hash:{base}/etc/aliases.merged"
    gateway = Gateway(base, alias_maps=table, local_recipient_maps="$alias_maps")
    site = Site(gateway)
    site.write_sources("sales")
    site.lay_down("sales", f"sales: {base}/land/box\n")
    (base / "land" / "box").touch(mode=0o600)
    with running(gateway):
        yield site


def test_what_lands_is_in_effect_without_a_reload(site: Site) -> None:
    until(site.known("sales"))
    site.lay_down("sales", f"sales: {site.land}/box\nsales-new: {site.land}/box\n")
    until(site.known("sales-new"))
    until(lambda: "install=2, entries=2, changed=1, table=hash:" in site.gateway.log())
    assert "postfix/aliases[" in site.gateway.log()


def test_mail_goes_where_the_merged_table_says(site: Site) -> None:
    until(site.known("sales"))
    if os.geteuid() == 0:
        os.chown(site.land / "box", 65534, 65534)  # default_privs: the merged table is root's
        site.land.chmod(0o777)
    site.send("sales")
    until(lambda: "hello" in (site.land / "box").read_text(), said=site.gateway.log()[-1500:])


def test_a_bad_file_is_said_once_and_changes_nothing(site: Site) -> None:
    until(site.known("sales"))
    before = site.gateway.log()
    site.lay_down("sales", "sales: nobody\nsales-hal")
    until(lambda: "the file ends within a line" in site.gateway.log()[len(before) :])
    assert site.known("sales")()
    site.lay_down("sales", f"sales: {site.land}/box\nsales-2: {site.land}/box\nsales-new: {site.land}/box\n")
    until(site.known("sales-2"))
    assert site.gateway.log()[len(before) :].count("the file ends within a line") == 1


def test_a_new_sources_file_and_one_with_a_mistake(site: Site) -> None:
    site.lay_down("plant", f"plant: {site.land}/box\n")
    site.write_sources("sales", "plant")
    until(site.known("plant"))
    file = site.gateway.etc / "alias-sources.cf"
    good = file.read_text()
    file.write_text(good + "plant.nmaes = x\n")
    until(lambda: "plant.nmaes: there is no such setting: nothing is merged" in site.gateway.log())
    site.write_sources("sales", "plant")
    site.lay_down("plant", f"plant: {site.land}/box\nplant-2: {site.land}/box\n")
    until(site.known("plant-2"))


@pytest.mark.long
def test_a_timer_that_is_killed_is_started_again(site: Site) -> None:
    pid = site.gateway.kill("aliases")
    assert pid
    until(lambda: any(p != pid for p in site.gateway.pids("aliases")))
    site.lay_down("sales", "".join(f"sales-{n}: {site.land}/box\n" for n in ("new", "3")) + f"sales: {site.land}/box\n")
    site.gateway.command("aliases", "confirm", "sales", check=False)


@pytest.mark.long
def test_the_timer_comes_and_goes_with_the_file(site: Site) -> None:
    file = site.gateway.etc / "alias-sources.cf"
    file.rename(file.with_suffix(".away"))
    site.gateway.command("reload")
    until(lambda: not site.gateway.pids("aliases"))
    file.with_suffix(".away").rename(file)
    site.gateway.command("reload")
    until(lambda: bool(site.gateway.pids("aliases")))
    until(lambda: not [p for p in children(site.gateway.master_pid) if _stopped(p)])


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@pytest.mark.long
def test_a_stop_does_not_wait_for_it(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, alias_maps="")
    Site(gateway).write_sources("sales")
    with running(gateway):
        assert gateway.pids("aliases")
        gateway.stop()
        assert "did not end in time" not in gateway.log()
