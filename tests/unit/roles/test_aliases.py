"""What the timer of alias sources says of a merge; its life is shown by tests/interop/test_aliases_timer.py."""

import os
from pathlib import Path

from postwarden.config.settings import load
from postwarden.roles.aliases import Merge, Said, merged


def site(base: Path, sources: str) -> Path:
    (base / "main.cf").write_text(
        f"compatibility_level = 3.6\nmyhostname = mx.example.com\nalias_maps = hash:{base}/aliases.merged\n"
    )
    (base / "alias-sources.cf").write_text(sources)
    return base


def test_what_a_merge_has_done(tmp_path: Path) -> None:
    (tmp_path / "landed").write_text("sales: root\n")
    os.utime(tmp_path / "landed", (1_000_000_000, 1_000_000_000))
    site(tmp_path, f"sources = sales\nsales.push = {tmp_path}/landed\nsales.names = sales\n")
    said = merged(load(tmp_path), pull=True)
    assert said == Said(f"install=1, entries=1, changed=1, table=hash:{tmp_path}/aliases.merged")
    assert merged(load(tmp_path), pull=False) == Said()


def test_a_mistake_is_said_and_is_no_death(tmp_path: Path) -> None:
    site(tmp_path, "sources = sales\nsales.push = x\n")
    (text,) = merged(load(tmp_path), pull=True).problems
    assert text.startswith(f"merge: {tmp_path}/alias-sources.cf:2: ")
    assert text.endswith("what is installed stays")


def test_the_process_of_a_merge_says_what_it_did(tmp_path: Path) -> None:
    site(tmp_path, f"sources = sales\nsales.push = {tmp_path}/landed\nsales.names = sales\n")
    merge = Merge(load(tmp_path), pull=True)
    while (said := merge.look()) is None:
        pass
    assert any("no such file" in text for text in said.problems)


def test_endless_targets_do_not_make_a_merge_look_dead(tmp_path: Path) -> None:
    long = "".join(f"sales-{n}: joe@{'a' * 60_000}.far.example\n" for n in range(20))
    (tmp_path / "landed").write_text(f"{long}other: root\n")
    os.utime(tmp_path / "landed", (1_000_000_000, 1_000_000_000))
    site(tmp_path, f"sources = sales\nsales.push = {tmp_path}/landed\nsales.names = sales*\n")
    merge = Merge(load(tmp_path), pull=True)
    while (said := merge.look()) is None:
        pass
    assert [text for text in said.problems if "sales may not define this name" in text]
    assert max(map(len, said.problems)) < 300
