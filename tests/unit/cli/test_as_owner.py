"""Whom root warns of, and what it never touches."""

import os
from pathlib import Path

import pytest

from postwarden.cli.as_owner import AsOwner
from postwarden.tables.table import TableError
from postwarden.tables.writing import CdbWriter, IndexWriter

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def heard(source: Path, **options: bool) -> list[str]:
    said: list[str] = []
    AsOwner(str(source), said.append, **options)
    return said


@root
@pytest.mark.parametrize(
    ("owner", "mode", "said"),
    [
        ((0, 0), 0o755, ""), ((0, 0), 0o777, "open to everybody"), ((0, 0), 0o1777, ""), ((0, 0), 0o775, ""),
        ((0, 8), 0o775, "open to group 8"), ((8, 8), 0o755, "that of user 8"),
    ],
)  # fmt: skip
def test_a_source_of_root_where_others_may_write(tmp_path: Path, owner: tuple[int, int], mode: int, said: str) -> None:
    (tmp_path / "map").write_text("a 1\n")
    os.chown(tmp_path, *owner)
    tmp_path.chmod(mode)
    assert [said in text for text in heard(tmp_path / "map")] == ([True] if said else [])
    assert heard(tmp_path / "map", keep_privileges=True) == []


@root
def test_it_is_done_as_the_owner(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("a 1\n")
    os.chown(tmp_path / "map", 8, 8)
    with AsOwner(str(tmp_path / "map"), print):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (8, 8, [8])
    assert os.geteuid() == 0


@pytest.mark.parametrize("kind", [CdbWriter, IndexWriter])
def test_a_link_in_the_place_of_the_draft_leads_nowhere(tmp_path: Path, kind: type[CdbWriter | IndexWriter]) -> None:
    (tmp_path / "map").write_text("a 1\n")
    victim = tmp_path.parent / f"{tmp_path.name}.victim"
    victim.write_text("secret")
    victim.chmod(0o600)
    writer = kind(str(tmp_path / "map"))
    writer.add([(b"a", b"1", 1)], print)
    (draft,) = [path for path in tmp_path.iterdir() if path.name != "map"]
    draft.unlink()
    draft.symlink_to(victim)
    writer.publish()
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("secret", 0o600)


def test_a_draft_that_is_gone(tmp_path: Path) -> None:
    writer = IndexWriter(str(tmp_path / "map"))
    (draft,) = tmp_path.iterdir()
    draft.unlink()
    with pytest.raises(TableError):
        writer.publish()
