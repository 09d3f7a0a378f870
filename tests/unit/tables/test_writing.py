import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.passable import passable

from postwarden.tables.writing import CdbWriter, IndexWriter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Path]:
    """A directory of uid 8, as whom we act."""
    passable(tmp_path)
    place = tmp_path / "theirs"
    place.mkdir()
    os.chown(place, 8, 8)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(8)
    os.seteuid(8)
    yield place
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(groups)


@pytest.mark.parametrize(("mode", "expected"), [(0o644, 0o644), (0o640, 0o600), (0o600, 0o600)])
@pytest.mark.parametrize("writer", [CdbWriter, IndexWriter])
def test_of_somebody_else_s_text_an_index_of_ours(
    theirs: Path, writer: type[CdbWriter | IndexWriter], mode: int, expected: int
) -> None:
    source = theirs / "map"
    source.touch()
    source.chmod(mode)
    os.seteuid(0)
    os.chown(source, 0, 0)
    os.seteuid(8)
    new = writer(str(source))
    new.add([(b"a", b"b", 1)], lambda text: None)
    assert new.publish() == []
    state = os.stat(new.target)
    assert (state.st_uid, state.st_mode & 0o777) == (8, expected)
    assert sorted(os.listdir(theirs)) == sorted(["map", os.path.basename(new.target)])
