import os
from pathlib import Path

import pytest

from postwarden.deliver.local.lists import AliasTables, UnknownOwner
from postwarden.mail.decision import BUILT_IN
from postwarden.tables.literal import LiteralTable
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings


class Table(LiteralTable):
    def get(self, key: str) -> None:
        return None


def owner(name: str, here: Path) -> int:
    return AliasTables(Maps([Table(name)]), str(here)).owner(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("hash:a", ".lmdb"),
        ("debug:hash:a", ".lmdb"),
        ("proxy:lmdb:a", ".lmdb"),
        ("dbm:a", ".lmdb"),
        ("cdb:a", ".cdb"),
        ("proxy:cdb:a", ".cdb"),
    ],
)
def test_who_made_the_index_answers_for_it(tmp_path: Path, name: str, suffix: str) -> None:
    (tmp_path / "a").touch()
    assert owner(name, tmp_path) == 0
    (tmp_path / f"a{suffix}").touch()
    os.chown(tmp_path / f"a{suffix}", 8, 8)
    assert owner(name, tmp_path) == 8


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("kind", ["texthash", "pcre", "sqlite", "mysql", "pgsql", "ldap"])
def test_who_wrote_the_text_or_the_definition_answers_for_it(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.cf").touch()
    os.chown(tmp_path / "a.cf", 8, 8)
    assert owner(f"{kind}:{tmp_path}/a.cf", tmp_path) == 8
    assert owner(f"{kind}:./a.cf", tmp_path) == 8


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("kind", ["unionmap", "pipemap", "proxy:unionmap"])
def test_a_user_s_part_of_a_table_does_nothing_in_root_s_name(tmp_path: Path, kind: str) -> None:
    for name, uid in (("root", 0), ("hers", 8), ("his", 9)):
        (tmp_path / name).touch()
        os.chown(tmp_path / name, uid, uid)
    assert owner(f"{kind}:{{inline:{{a=b}}, texthash:root}}", tmp_path) == 0
    assert owner(f"{kind}:{{texthash:root, inline:{{a=b}}, pipemap:{{cidr:hers, texthash:hers}}}}", tmp_path) == 8
    for parts in ("texthash:hers, texthash:his", "texthash:root, texthash:none"):
        with pytest.raises(UnknownOwner):
            owner(f"{kind}:{{{parts}}}", tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_table_that_is_told_to_the_log_is_still_its_owner_s(tmp_path: Path) -> None:
    (tmp_path / "hers").write_text("list |id\n")
    os.chown(tmp_path / "hers", 8, 8)
    (table,) = Tables.of(settings()).maps((f"debug:texthash:{tmp_path}/hers",), BUILT_IN).tables
    aliases = AliasTables(Maps([table]), str(tmp_path))
    found = aliases.find("list")
    assert found is not None
    assert aliases.owner(found.table) == 8


def test_what_stands_in_main_cf_is_root_s(tmp_path: Path) -> None:
    for name in ("mysql:a", "sqlite:a", "inline:{a=b}", "pcre:{{/a/ b}}", "regexp:{{/a/ b}}"):
        assert owner(name, tmp_path) == 0


def test_a_file_that_is_not_there_has_no_owner(tmp_path: Path) -> None:
    for name in ("hash:a", "cdb:a", "pcre:a", "mysql:./a"):
        with pytest.raises(UnknownOwner):
            owner(name, tmp_path)
