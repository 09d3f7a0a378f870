import pytest

from postwarden.config.parameters.kinds import Kind, Parameter
from postwarden.config.values import split, typed


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Kind.STRING, "x y", "x y"),
        (Kind.BOOL, "yes", True),
        (Kind.BOOL, "No", False),
        (Kind.INT, "12", 12),
        (Kind.TIME, "12", 12 * 3600),
        (Kind.TIME, "12s", 12),
        (Kind.TIME, "2M", 120),
        (Kind.TIME, "1w", 604800),
        (Kind.LIST, " a, b\tc,,d ", ("a", "b", "c", "d")),
        (Kind.MAPS, "hash:/a, inline:{b=c, d=e}", ("hash:/a", "inline:{b=c, d=e}")),
    ],
)
def test_kinds(kind: Kind, text: str, expected: object) -> None:
    assert typed(Parameter("p", kind, "", unit="h"), text) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.BOOL, ""), (Kind.BOOL, "true"), (Kind.INT, ""), (Kind.INT, "1k"), (Kind.INT, "٣"), (Kind.INT, "1" * 30),
        (Kind.TIME, ""), (Kind.TIME, "s"), (Kind.TIME, "1x"), (Kind.TIME, "-1s"), (Kind.LIST, "a {b"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):
        typed(Parameter("p", kind, ""), text)


def test_bounds() -> None:
    bounded = Parameter("p", Kind.INT, "", low=1, high=9)
    assert typed(bounded, "9") == 9
    for text in ("0", "10", "-1"):
        with pytest.raises(ValueError, match="p parameter value"):
            typed(bounded, text)


def test_braces_keep_together_and_stay() -> None:
    assert split("x { a, {b c} }, y{z w}") == ("x", "{ a, {b c} }", "y{z w}")
