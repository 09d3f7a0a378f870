"""A file is looked at once a second at most, and its text given once."""

import os
from pathlib import Path

from postwarden.net.watched import WatchedText, version
from postwarden.testing.clock import VirtualClock


def test_a_text_is_given_when_it_is_another(tmp_path: Path) -> None:
    clock, file = VirtualClock(), tmp_path / "hosts"
    watched = WatchedText(str(file), clock.monotonic)
    assert watched.changed() is None
    file.write_text("one")
    assert watched.changed() is None, "within a second nobody looks again"
    clock.advance(1)
    assert watched.changed() == "one"
    clock.advance(1)
    assert watched.changed() is None
    (tmp_path / "new").write_bytes(b"two \xff")
    os.replace(tmp_path / "new", file)
    clock.advance(1)
    assert watched.changed() == "two \ufffd"


def test_what_is_gone_or_no_file_has_not_changed(tmp_path: Path) -> None:
    clock, file = VirtualClock(), tmp_path / "hosts"
    file.write_text("one")
    watched = WatchedText(str(file), clock.monotonic)
    assert watched.changed() == "one"
    file.unlink()
    clock.advance(1)
    assert watched.changed() is None and version(str(file)) == (0, 0, 0)
    file.mkdir()
    clock.advance(1)
    assert watched.changed() is None
    file.rmdir()
    file.write_text("three")
    clock.advance(1)
    assert watched.changed() == "three"
