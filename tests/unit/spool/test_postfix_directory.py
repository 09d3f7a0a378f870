from pathlib import Path

import pytest

from postwarden.spool.postfix_directory import files, hashed, is_queue_id, log_file


@pytest.mark.parametrize(
    ("queue", "name", "depth", "path"),
    [
        ("deferred", "4EAA022275B", 1, "deferred/4/4EAA022275B"),
        ("deferred", "4EAA022275B", 2, "deferred/4/E/4EAA022275B"),
        ("hold", "4EAA022275B", 0, "hold/4EAA022275B"),
        ("deferred", "A", 2, "deferred/A/_/A"),
    ],
)
def test_where_a_file_is(queue: str, name: str, depth: int, path: str) -> None:
    assert hashed(queue, name, depth) == path


def test_files_of_a_queue(tmp_path: Path) -> None:
    for name, mode in (("A/A1", 0o700), ("A/B/AB2", 0o600), ("C3", 0o700), ("not-one", 0o700), ("long/X4", 0o700)):
        path = tmp_path / "deferred" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        path.chmod(mode)
    (tmp_path / "deferred" / "L5").symlink_to("/etc/passwd")
    found = list(files(str(tmp_path), "deferred"))
    assert [(file.queue_id, file.complete) for file in found] == [("A1", True), ("AB2", False), ("C3", True)]
    assert list(files(str(tmp_path), "active")) == []


def test_the_log_of_a_message(tmp_path: Path) -> None:
    (tmp_path / "defer" / "4").mkdir(parents=True)
    (tmp_path / "defer" / "4" / "4EAA").write_text("")
    (tmp_path / "bounce").mkdir()
    (tmp_path / "bounce" / "4EAA").write_text("")
    assert log_file(str(tmp_path), "defer", "4EAA").endswith("defer/4/4EAA")
    assert log_file(str(tmp_path), "bounce", "4EAA").endswith("bounce/4EAA")
    assert log_file(str(tmp_path), "trace", "4EAA") == ""


@pytest.mark.parametrize("text", ["", "a/b", "..", "a.b", "A" * 300, "A\n"])
def test_no_queue_id(text: str) -> None:
    assert not is_queue_id(text)
