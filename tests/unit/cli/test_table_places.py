"""Places where postmap can't make an index: an ordinary user's `newaliases`, a directory that is not there."""

import io
import sys
from pathlib import Path

import pytest

from postwarden.cli import postmap


def test_a_place_that_can_not_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b\n")))
    assert postmap.main("postmap", ["-c", str(tmp_path), "-i", f"hash:{tmp_path}/none/map"]) == 1
    said = f"postmap: fatal: open database {tmp_path}/none/map.lmdb: No such file or directory\n"
    assert capsys.readouterr().err == said
