from pathlib import Path

import pytest

from postwarden.cli.postmap import main


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
