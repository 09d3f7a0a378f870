"""What address_verify_map means."""

import pytest

from postwarden.verify.place import place


@pytest.mark.parametrize("kind", ["btree", "hash", "lmdb"])
def test_the_file_is_ours_beside_that_of_postfix(kind: str) -> None:
    assert place((f"{kind}:/var/lib/postfix/verify_cache",)).path == "/var/lib/postfix/verify_cache.sqlite"
    assert not place((f"{kind}:/var/lib/postfix/verify_cache",)).problem


def test_empty_is_memory_only_and_no_problem() -> None:
    assert place(()).path == ""
    assert place(()).problem == ""


@pytest.mark.parametrize(
    "maps",
    [
        ("memcache:/etc/postfix/mc.cf",),
        ("texthash:/x",),
        ("btree:",),
        ("btree:relative",),
        ("proxy:memcache:/x",),
        ("nonsense",),
        ("btree:/a", "btree:/b"),
    ],
)
def test_what_can_not_be_written_is_memory_only_and_said(maps: tuple[str, ...]) -> None:
    assert place(maps).path == ""
    assert "in memory only" in place(maps).problem


def test_proxy_is_the_file_itself() -> None:
    found = place(("proxy:btree:/x/cache",))
    assert found.path == "/x/cache.sqlite"
    assert "nobody" in found.problem
