"""A .forward file that several ways of one message lead to (compared with local(8) of Postfix 3.7)."""

from pathlib import Path

from tests.unit.deliver.local.test_deliverer import World

ALIASES = "twice: joe, via\nvia: joe\nback: joe\n"


def test_who_is_reached_twice_is_forwarded_once_and_gets_no_copy(tmp_path: Path) -> None:
    world = World(tmp_path, ALIASES)
    (tmp_path / "joe").mkdir()
    (tmp_path / "joe" / ".forward").write_text(f"{tmp_path}/out\n")
    world.deliver("twice")
    assert (tmp_path / "out").read_bytes().count(b"\nhello\n") == 1
    assert world.box("joe") == 0


def test_who_leads_back_to_himself_gets_it_into_his_mailbox(tmp_path: Path) -> None:
    world = World(tmp_path, ALIASES)
    (tmp_path / "joe").mkdir()
    (tmp_path / "joe" / ".forward").write_text(f"back\n{tmp_path}/out\n")
    world.deliver("twice")
    assert (tmp_path / "out").read_bytes().count(b"\nhello\n") == 1
    assert world.box("joe") == 1
