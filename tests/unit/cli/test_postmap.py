from pathlib import Path

import pytest

from postwarden.cli.postmap import main
from postwarden.mail.verified import BOUNCE, DEFER, OK
from postwarden.verify import file
from postwarden.verify.cache import Known


@pytest.mark.parametrize("name", ["memcache:users", "proxy:memcache:users"])
def test_a_definition_in_main_cf_is_that_of_the_configuration(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "etc").mkdir()
    text = "compatibility_level = 3.6\nusers_memcache = inet:127.0.0.1:1\nusers_backup = static:found\n"
    (tmp_path / "etc" / "main.cf").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main("postmap", ["-c", str(tmp_path / "etc"), "-q", "a@b.c", name]) == 0
    assert capsys.readouterr().out == "found\n"


@pytest.fixture
def cached(tmp_path: Path) -> list[str]:
    """The words that name a cache with three addresses."""
    text = f"compatibility_level = 3.6\ndata_directory = {tmp_path}\n"
    (tmp_path / "main.cf").write_text(text)
    known = {"good@x": Known(OK, "250 ok", 17.5), "Bad@x": Known(BOUNCE, "550 no", 18.0), "l@x": Known(DEFER, "", 19.0)}
    file.write(f"{tmp_path}/verify_cache.sqlite", known)
    return ["-c", str(tmp_path)]


@pytest.mark.parametrize("prefix", ["", "proxy:"])
def test_what_address_verification_knows(
    cached: list[str], prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{prefix}btree:{tmp_path}/verify_cache"
    assert main("postmap", [*cached, "-s", name]) == 0
    assert capsys.readouterr().out == "Bad@x\t2:0:18:550 no\ngood@x\t0:0:17:250 ok\nl@x\t1:0:19:\n"
    assert main("postmap", [*cached, "-q", "GOOD@x", name]) == 0
    assert capsys.readouterr().out == "0:0:17:250 ok\n"
    assert main("postmap", [*cached, "-q", "nobody@x", name]) == 1
    assert main("postmap", [*cached, "-d", "Bad@x", name]) == 0
    assert main("postmap", [*cached, "-d", "Bad@x", name]) == 1
    assert main("postmap", [*cached, "-q", "Bad@x", name]) == 1
    assert main("postmap", [*cached, "-q", "good@x", name]) == 0


def test_a_cache_that_is_damaged_says_so(cached: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "verify_cache.sqlite").write_bytes(b"this is no database" * 100)
    for words in (["-s"], ["-q", "good@x"], ["-d", "good@x"]):
        assert main("postmap", [*cached, *words, f"btree:{tmp_path}/verify_cache"]) == 1
        said = capsys.readouterr()
        assert "verify_cache.sqlite: file is not a database" in said.err and not said.out


def test_a_cache_that_is_not_there_yet_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.cf").write_text(f"compatibility_level = 3.6\ndata_directory = {tmp_path}\n")
    words = ["-c", str(tmp_path)]
    name = f"btree:{tmp_path}/verify_cache"
    assert [main("postmap", [*words, *how, name]) for how in (["-s"], ["-q", "a@x"], ["-d", "a@x"])] == [0, 1, 1]
    assert [one.name for one in tmp_path.iterdir()] == ["main.cf"]
    assert capsys.readouterr().out == ""


def test_a_faulty_address_verify_map_hinders_no_other_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\naddress_verify_map = btree:${x\n")
    assert main("postmap", ["-c", str(tmp_path), "-q", "a", "inline:{a=found}"]) == 0
    assert capsys.readouterr().out == "found\n"
