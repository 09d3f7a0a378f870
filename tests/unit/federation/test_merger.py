"""The whole of a merge, with sources that are laid down in a directory and one that a fake fetches."""

import os
from pathlib import Path

import pytest

from postwarden.config.settings import load
from postwarden.federation.arrival import SETTLED, Missing, Unreachable
from postwarden.federation.merger import DUE, NONE, Merger, Mistake, Report
from postwarden.federation.sources import Pull, load_federation
from postwarden.federation.store import Busy, write
from postwarden.tables.opening import open_table

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
NAMES = "".join(f"plant-{n}: joe\n" for n in range(10))


class Site:
    """A gateway with the sources `plant`, pushed, and `sales`, pulled."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.time = 1_000_000_000.0
        self.sales: bytes | Unreachable = b"sales: joe\n"
        self.fetches = 0
        (base / "etc").mkdir()
        (base / "etc" / "main.cf").write_text(
            f"compatibility_level = 3.6\nmyhostname = mx.example.com\nalias_maps = hash:{base}/etc/aliases.merged\n"
        )
        (base / "etc" / "alias-sources.cf").write_text(
            f"sources = plant sales\nplant.push = {base}/plant\nplant.names = plant*\nsales.names = sales*\n"
            f"sales.pull = sftp://u@h.example/aliases\nsales.key = /k\nsales.host_key = {KEY}\n"
        )

    def lay_down(self, text: str | bytes) -> None:
        (self.base / "plant").write_bytes(text.encode() if isinstance(text, str) else text)
        self.settle()

    def settle(self) -> None:
        os.utime(self.base / "plant", (self.time, self.time))
        self.time += 10 * SETTLED

    def fetch(self, sources: list[tuple[str, Pull]], limit: int, seconds: int) -> dict[str, bytes | Unreachable]:
        self.fetches += 1
        return {name: self.sales for name, _ in sources}

    @property
    def merger(self) -> Merger:
        settings = load(self.base / "etc")
        return Merger(
            settings, load_federation(settings), self.fetch, "tester", now=lambda: self.time, account={"joe": 1001}.get
        )

    def merge(self, **how: object) -> Report:
        return self.merger.merge("test", **how)  # type: ignore[arg-type]

    def look_up(self, name: str) -> str | None:
        found = open_table(f"hash:{self.base}/etc/aliases.merged", "").get(name)
        return found.value if found else None

    def events(self) -> list[str]:
        return [f"{h.what} {h.source} {h.version}".replace("  ", " ") for h in self.merger.store.history()]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.lay_down(NAMES)
    return site


def said(report: Report) -> str:
    return "\n".join(problem.text for problem in report.problems)


def test_a_first_merge_installs_text_and_index(site: Site) -> None:
    report = site.merge()
    assert (report.install, report.entries, report.problems) == (1, 11, [])
    assert site.look_up("SALES") == "joe"
    assert (site.base / "etc" / "aliases.merged.lmdb").stat().st_uid == os.geteuid()
    assert site.events() == ["arrived plant 1", "arrived sales 1", "installed 1"]


def test_a_second_merge_of_the_same_does_nothing(site: Site) -> None:
    site.merge()
    before = (site.base / "etc" / "aliases.merged.lmdb").stat()
    report = site.merge()
    assert (report.install, report.changes) == (0, [])
    assert (site.base / "etc" / "aliases.merged.lmdb").stat() == before


def test_nothing_is_installed_before_something_has_come(site: Site) -> None:
    (site.base / "plant").unlink()
    site.sales = Unreachable("down")
    report = site.merge()
    assert report.install == 0
    assert "what needs it is put off" in said(report)
    assert not (site.base / "etc" / "aliases.merged").exists()
    site.lay_down(NAMES)
    assert site.merge().install == 1


def test_a_table_of_addresses_that_main_cf_names_already(site: Site) -> None:
    with (site.base / "etc" / "main.cf").open("a") as file:
        file.write(f"virtual_alias_maps = hash:{site.base}/etc/virtual.merged\n")
    with (site.base / "etc" / "alias-sources.cf").open("a") as file:
        file.write("virtual_table = hash:virtual.merged\nsales.domains = sales.example\n")
    site.sales = b"sales: joe\njoe@sales.example: joe\n@sales.example: sales\n"
    assert not site.merge().problems
    virtual = open_table(f"hash:{site.base}/etc/virtual.merged", "")
    assert [getattr(virtual.get(key), "value", None) for key in ("joe@sales.example", "@sales.example", "sales")] == [
        "joe", "sales", None,
    ]  # fmt: skip
    assert not site.merge().changes


def test_a_dry_run_keeps_and_changes_nothing(site: Site) -> None:
    report = site.merge(dry_run=True)
    assert len(report.changes) == 11
    assert sorted(p.name for p in (site.base / "etc").iterdir()) == ["alias-sources.cf", "main.cf"]
    site.merge()
    site.lay_down(NAMES + "plant: joe\n")
    assert [c.name for c in site.merge(dry_run=True).changes] == ["plant"]
    assert site.look_up("plant") is None


@pytest.mark.parametrize("bad", [b"plant-0: j", b"\x7fELF\0\1\n", b"", NAMES.encode()[:-2], b"x\n"])
def test_a_damaged_file_leaves_the_last_good_one_and_the_others(site: Site, bad: bytes) -> None:
    site.merge()
    site.lay_down(bad)
    site.sales = b"sales: joe\nsales-new: joe\n"
    report = site.merge()
    assert "what came can't be used" in said(report)
    assert "version 1 of" in said(report)
    assert report.errors
    assert (site.look_up("plant-9"), site.look_up("sales-new")) == ("joe", "joe")
    assert "what came can't be used" in said(site.merge()), "it is said again"
    assert site.events().count("unfit plant") + site.events().count("unfit plant 0") == 1, "but noted once"
    site.lay_down(NAMES)
    assert not site.merge().problems


def test_a_source_that_shrinks_is_held_until_confirmed(site: Site) -> None:
    site.merge()
    site.lay_down("plant-0: joe\nplant-x: joe\n")
    assert "version 2 is held: 9 of 10 names would go" in said(site.merge())
    assert site.look_up("plant-9") == "joe"
    with pytest.raises(Mistake, match="nothing is held"):
        site.merger.confirm("sales", "")
    report = site.merger.confirm("plant", "told by phone")
    assert (site.look_up("plant-9"), site.look_up("plant-x"), report.problems) == (None, "joe", [])
    assert not site.merge().changes


def test_a_held_version_is_replaced_by_a_better_one(site: Site) -> None:
    site.merge()
    site.lay_down("plant-0: joe\n")
    site.merge()
    site.lay_down(NAMES)
    assert not site.merge().problems
    with pytest.raises(Mistake):
        site.merger.confirm("plant", "")


def test_a_source_that_disappears_is_held_until_confirmed(site: Site) -> None:
    site.merge()
    (site.base / "plant").unlink()
    assert "held: the file has disappeared" in said(site.merge())
    assert site.look_up("plant-9") == "joe"
    site.merge()
    assert site.events().count("held plant -1") == 1
    site.merger.confirm("plant", "")
    assert site.look_up("plant-9") is None
    site.lay_down("plant-1: joe\n")
    site.merge()
    assert site.look_up("plant-1") == "joe"


def test_a_file_that_comes_back_ends_the_hold(site: Site) -> None:
    site.merge()
    (site.base / "plant").rename(site.base / "away")
    site.merge()
    (site.base / "away").rename(site.base / "plant")
    assert not site.merge().problems


def test_a_source_that_can_not_be_reached_keeps_what_it_had(site: Site) -> None:
    site.merge()
    site.sales = Unreachable("Connection refused")
    assert "source sales: Connection refused; version 1" in said(site.merge())
    assert site.look_up("sales") == "joe"
    site.sales = Missing("File not found")
    assert "held: the file has disappeared" in said(site.merge())
    assert site.look_up("sales") == "joe"


def test_a_file_that_is_being_written_is_looked_at_later(site: Site) -> None:
    site.merge()
    site.lay_down(NAMES + "plant-new: joe\n")
    os.utime(site.base / "plant", (site.time, site.time))
    assert "still being written" in said(site.merge())
    assert site.look_up("plant-new") is None
    site.settle()
    site.merge()
    assert site.look_up("plant-new") == "joe"


def test_a_landing_place_is_not_trusted(site: Site) -> None:
    site.merge()
    secret = site.base / "secret"
    secret.write_text("plant-secret: joe\n" + NAMES)
    place = site.base / "plant"
    place.unlink()
    place.symlink_to(secret)
    assert "symbolic link" in said(site.merge())
    place.unlink()
    place.hardlink_to(secret)
    site.settle()
    assert "has 2 names" in said(site.merge())
    place.unlink()
    os.mkfifo(place)
    assert "not a regular file" in said(site.merge())
    place.unlink()
    site.lay_down(NAMES)
    place.chmod(0o666)
    assert "everybody can write it" in said(site.merge())
    assert site.look_up("plant-secret") is None
    assert site.look_up("plant-1") == "joe"


def test_rollback_of_a_source_and_back_again(site: Site) -> None:
    site.merge()
    site.lay_down(NAMES + "plant-bad: joe\n")
    site.merge()
    assert site.look_up("plant-bad") == "joe"
    site.merger.rollback("plant", 0, "was wrong")
    assert site.look_up("plant-bad") is None
    assert not site.merge().changes, "the same file does not come back by itself"
    site.lay_down(NAMES + "plant-good: joe\n")
    site.merge()
    assert site.look_up("plant-good") == "joe"
    site.lay_down(NAMES + "plant-bad: joe\n")
    site.merge()
    assert site.look_up("plant-bad") is None, "nor by a detour"
    site.merger.confirm("plant", "it was right")
    site.merge()
    assert site.look_up("plant-bad") == "joe"
    with pytest.raises(Mistake, match="no version 77"):
        site.merger.rollback("plant", 77, "")
    with pytest.raises(Mistake, match="no such source"):
        site.merger.rollback("plants", 0, "")


def test_rollback_of_all_to_an_install(site: Site) -> None:
    site.merge()
    site.lay_down(NAMES + "plant-new: joe\n")
    site.sales = b"sales: joe\nsales-new: joe\n"
    site.merge()
    report = site.merger.rollback("", 0, "")
    assert (report.install, site.look_up("plant-new"), site.look_up("sales-new")) == (3, None, None)
    site.merger.rollback("", 2, "")
    assert site.look_up("plant-new") == "joe"
    with pytest.raises(Mistake, match="no install 9"):
        site.merger.rollback("", 9, "")


def test_pulls_wait_for_their_interval(site: Site) -> None:
    site.merge(pull=DUE)
    site.merge(pull=DUE)
    site.merge(pull=NONE)
    assert site.fetches == 1
    site.time += 300
    site.merge(pull=DUE)
    assert site.fetches == 2


def test_two_merges_at_once(site: Site) -> None:
    merger = site.merger
    merger.store.prepare()
    with merger.store.locked(0), pytest.raises(Busy, match="another merge"):
        site.merge(wait=0.0)
    assert site.merge().install == 1


def test_what_a_kill_left_half_done_is_done_again(site: Site) -> None:
    site.merge()
    merged = site.base / "etc" / "aliases.merged"
    whole = merged.read_bytes()
    for damage in (
        lambda: merged.write_bytes(b"old\n"),
        lambda: merged.with_name("aliases.merged.lmdb").unlink(),
        merged.unlink,
        lambda: (site.base / "etc" / "alias-sources" / "installed" / "4").unlink(),
    ):
        damage()
        assert site.merge().install
        assert (merged.read_bytes(), site.look_up("sales")) == (whole, "joe")


def test_a_half_line_in_the_history_costs_that_line(site: Site) -> None:
    site.merge()
    with (site.base / "etc" / "alias-sources" / "history").open("a") as file:
        file.write('{"time": 1, "what": "arr')
    site.lay_down(NAMES + "plant: joe\n")
    site.merge()
    assert site.events() == ["arrived plant 1", "arrived sales 1", "installed 1", "arrived plant 2", "installed 2"]


def test_old_versions_go_but_not_the_one_in_force(site: Site) -> None:
    with (site.base / "etc" / "alias-sources.cf").open("a") as file:
        file.write("keep_versions = 3\n")
    for n in range(6):
        site.lay_down(NAMES + f"plant: joe{n}\n")
        site.merge()
    assert site.merger.store.versions("plant") == [4, 5, 6]
    assert sorted(os.listdir(site.base / "etc" / "alias-sources" / "installed")) == ["4", "5", "6"]


def test_a_directory_of_others_is_no_place(site: Site) -> None:
    site.merge()
    (site.base / "etc" / "alias-sources").chmod(0o777)
    with pytest.raises(PermissionError):
        site.merge()
    (site.base / "etc" / "alias-sources").chmod(0o755)
    (site.base / "etc").chmod(0o777)
    site.lay_down(NAMES + "plant: joe\n")
    with pytest.raises(PermissionError):
        site.merge()
    assert site.look_up("plant") is None


def test_a_name_that_would_be_a_comment_is_left_out_and_said(site: Site) -> None:
    with (site.base / "etc" / "alias-sources.cf").open("a") as file:
        file.write(f"virtual_table = hash:{site.base}/etc/virtual\nplant.domains = p.example\n")
    site.lay_down('"#x@p.example": joe\nx@p.example: joe\n')
    report = site.merge()
    assert any("#x@p.example: can't be written" in problem.text for problem in report.problems)
    assert (site.base / "etc" / "virtual").read_text().count("@p.example") == 1


def test_what_lies_where_a_file_is_written_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    os.link(tmp_path / "victim", tmp_path / f"table.new{os.getpid()}")
    write(str(tmp_path / "table"), b"new", 0o644)
    assert (tmp_path / "victim").read_text() == "mine"
    assert (tmp_path / "table").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table", "victim"]
