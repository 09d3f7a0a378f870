from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.tableservers import Memcached, TableServer, line

from postwarden.config.errors import ConfigError
from postwarden.tables.opening import open_table
from postwarden.tables.table import Table, TableError


class Scene:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.cache = Memcached(**{"user@a.b": "cached"})
        self.server = TableServer(self.cache)

    def table(self, *lines: str, port: int = 0) -> Table:
        text = [f"memcache = inet:127.0.0.1:{port or self.server.port}", "retry_pause = 1", "max_try = 1", *lines]
        (self.base / "mc.cf").write_text("\n".join(text) + "\n")
        return open_table("memcache:./mc.cf", str(self.base))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.server.stop()


def value(table: Table, key: str) -> str | None:
    found = table.get(key)
    return None if found is None else found.value


def test_the_cache_answers(scene: Scene) -> None:
    table = scene.table()
    assert [value(table, key) for key in ("USER@a.B", "none@a.b")] == ["cached", None]
    assert scene.server.connections == 1
    assert table.fixed


def test_what_is_behind_it_is_put_into_it(scene: Scene) -> None:
    backup = "backup = inline:{ {new@a.b=from behind}, {user@a.b=other} }"
    table = scene.table(backup, "ttl = 5", "flags = 7", "key_format = k:%s")
    assert value(table, "New@a.b") == "from behind"
    assert scene.cache.settings == [b"set k:new@a.b 7 5 11"]
    assert scene.cache.kept[b"k:new@a.b"] == b"from behind"
    assert value(table, "none@a.b") is None
    assert len(scene.cache.settings) == 1
    assert value(scene.table(backup), "user@a.b") == "cached"


def test_without_the_cache_the_backup_answers(scene: Scene) -> None:
    table = scene.table("backup = inline:{new@a.b=x}", port=free_port())
    assert value(table, "new@a.b") == "x"
    assert value(table, "none@a.b") is None


def test_without_either_there_is_no_answer(scene: Scene) -> None:
    with pytest.raises(TableError, match="Connection refused"):
        scene.table(port=free_port()).get("a")
    with pytest.raises(TableError):
        scene.table("backup = fail:x").get("none@a.b")


@pytest.mark.parametrize("reply", [b"ERROR\r\n", b"VALUE x 0 99999\r\n", b""])
def test_a_cache_that_errs(scene: Scene, reply: bytes) -> None:
    with TableServer(line(reply)) as server:
        with pytest.raises(TableError):
            scene.table(port=server.port).get("a")
        assert value(scene.table("backup = inline:{a=1}", port=server.port), "a") == "1"


def test_it_is_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("postwarden.tables.remote.memcache.time.sleep", slept.append)
    with TableServer(line(b"ERROR\r\n")) as server:
        with pytest.raises(TableError, match="unexpected memcache server reply: ERROR"):
            scene.table("max_try = 3", "retry_pause = 2", port=server.port).get("a")
        assert server.connections == 3
    assert slept == [2, 2]


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("domain = b.c", "user@a.b"),
        ("key_format = x%d", "user"),
        ("key_format = x %s", "user@a.b"),
        ("", "a b"),
        ("", "a\tb"),
        ("", "\udcff"),
    ],
)
def test_keys_that_are_not_asked_for(scene: Scene, more: str, key: str) -> None:
    table = scene.table(more, "backup = static:x")
    assert value(table, key) is None
    assert not scene.server.questions


@pytest.mark.parametrize("char", ["\u00a0", "\u200b", "\u3000"])
def test_only_white_space_of_ascii_is_none_of_memcached_s(scene: Scene, char: str) -> None:
    key = f"a{char}b@a.b"
    assert value(scene.table("backup = static:x"), key) == "x"
    assert [question.split()[0] for question in scene.server.questions] == [b"get", b"set"]


def test_a_key_can_not_be_a_command(scene: Scene) -> None:
    assert value(scene.table(), "a\r\nflush_all") is None
    assert not scene.server.questions


@pytest.mark.parametrize(
    "line_", ["memcache = foo:x", "key_format = %q", "max_try = 0", "timeout = x", "backup = nosuch:x"]
)
def test_a_definition_that_is_wrong(scene: Scene, line_: str) -> None:
    with pytest.raises(ConfigError):
        scene.table(line_)


def test_a_new_definition_counts(scene: Scene) -> None:
    table = scene.table()
    assert value(table, "user@a.b") == "cached"
    scene.table("key_format = other:%s")
    assert table.stale()
    table.reload()
    assert value(table, "user@a.b") is None
    assert not table.stale()


def test_without_its_file_it_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        open_table("memcache:./none.cf", str(tmp_path)).get("a")


def test_a_definition_that_only_root_may_read(scene: Scene, tmp_path: Path) -> None:
    scene.table()
    (tmp_path / "copy").write_text((tmp_path / "mc.cf").read_text())
    (tmp_path / "mc.cf").unlink()
    handed = {str(tmp_path / "mc.cf"): str(tmp_path / "copy")}
    table = open_table(f"memcache:{tmp_path}/mc.cf", "/", handed=handed)
    assert value(table, "user@a.b") == "cached"
    assert not table.stale()
    (tmp_path / "other").write_text("key_format = other:%s\n" + (tmp_path / "copy").read_text())
    handed[str(tmp_path / "mc.cf")] = str(tmp_path / "other")
    assert table.stale()
    table.reload()
    assert value(table, "user@a.b") is None
