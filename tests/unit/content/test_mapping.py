"""What a map makes of an address."""

import pytest

from postwarden.content.mapping import Mapper
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

MAPS = "inline:{{joe@in.example=@out.example} {@far.example=@near.example} {ann@in.example=one,two@x.example}}"


@pytest.mark.parametrize(
    ("address", "propagate", "expected"),
    [
        ("joe@in.example", True, ["joe@out.example"]),
        ("joe+x@in.example", True, ["joe+x@out.example"]),
        ("joe+x@in.example", False, ["joe@out.example"]),
        # The key had no extension to miss.
        ("joe+x@far.example", False, ["joe+x@near.example"]),
        ("ann+x@in.example", True, ["one+x@here", "two+x@x.example"]),
        ("ann+x@in.example", False, ["one@here", "two@x.example"]),
        ("bob@in.example", True, None),
    ],
)
def test_extensions_go_along_where_they_may(address: str, propagate: bool, expected: list[str] | None) -> None:
    config = settings("", canonical_maps=MAPS)
    maps = Tables.of(config).maps((MAPS,), config.origin("canonical_maps"))
    mapper = Mapper(lambda target: target if "@" in target else f"{target}@here", lambda domain: False, "+")
    assert mapper.targets(maps, address, propagate=propagate) == expected


@pytest.mark.parametrize("first", ["a@x.example", "b@x.example", "c@x.example", "in@x.example"])
def test_a_circle_ends_where_cleanup_ends_it(first: str) -> None:
    circle = {"in": "a", "a": "b", "b": "c", "c": "a"}
    listed = " ".join(f"{{{key}@x.example={value}@x.example}}" for key, value in circle.items())
    config = settings("", canonical_maps=f"inline:{{{listed}}}")
    maps = Tables.of(config).maps((f"inline:{{{listed}}}",), config.origin("canonical_maps"))
    circling: list[str] = []
    mapper = Mapper(lambda target: target, lambda domain: False, "", circling.append)
    name = first[:-10]
    for _ in range(1000):
        name = circle[name]
    assert mapper.chain(maps, first, propagate=True) == f"{name}@x.example"
    assert circling
