"""What local delivery says of the aliases, lists and .forward files that it went through."""

from pathlib import Path

import pytest
from tests.unit.deliver.local.test_deliverer import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def steps(world: World, *recipients: str) -> list[tuple[str, str, tuple[str, ...], str, str]]:
    remade = world.deliver(*recipients).remade
    return [(one.parameter, one.before, one.after, one.rule.name, one.rule.argument) for one in remade]


def test_a_mailbox_is_no_step(world: World) -> None:
    assert steps(world, "joe", "nosuch") == []


def test_aliases_by_name_and_key(world: World) -> None:
    table = f"hash:{world.base}/aliases"
    assert steps(world, "deep", "both+x") == [
        ("alias_maps", "deep", ("deep1",), table, "deep"),
        ("alias_maps", "both", ("joe", "ann"), table, "both"),
    ]
    assert steps(world, "command") == [("alias_maps", "command", ("|/bin/cat -u",), table, "command")]


def test_lists_and_forward_files_are_files(world: World) -> None:
    (world.base / "joe").mkdir()
    (world.base / "joe" / ".forward").write_text("x@elsewhere.example\n\\joe\n")
    include = str(world.base / "list")
    assert steps(world, "list") == [
        ("alias_maps", "list", (f":include:{include}",), f"hash:{world.base}/aliases", "list"),
        (":include:", include, ("joe", "x@elsewhere.example", "ann"), include, ""),
    ]
    forward = str(world.base / "joe" / ".forward")
    assert steps(world, "joe") == [(".forward", "joe", ("x@elsewhere.example", "\\joe"), forward, "")]


def test_a_text_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("# nobody\nteam joe\n")
    (step,) = World(tmp_path, alias_maps=f"texthash:{tmp_path}/text").deliver("team").remade
    assert (step.rule.origin.file, step.rule.origin.line) == (f"{tmp_path}/text", 2)
