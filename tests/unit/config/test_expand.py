import pytest

from postwarden.config.expand import DEPTH, ExpandError, expand, references

NAMES = {"a": "1", "b": "bee", "e": "", "n": "$b$a", "self": "x$self", "host": "mx", "ee": "$e"}


def value(text: str) -> str:
    return expand(text, NAMES.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain {x} 100%", "plain {x} 100%"),
        ("$a ${a} $(a)", "1 1 1"),
        ("$n.$host-x", "bee1.mx-x"),
        ("$$a $$", "$a $"),
        ("[$unknown]", "[]"),
        ("${a?yes}${e?no}", "yes"),
        ("${a:yes}${e:no}", "no"),
        ("${a?{yes}:{no}} ${e?{yes}:{no}}", "yes no"),
        ("${e?{$a}:{${b}}}", "bee"),
        ("${a?{x}:y} ${e?{x}:y}", "x y"),
        ("${e?{1}:{ y }}", " y "),
        ("$(a?x y)", "x y"),
        ("${ee?{x}:{y}}${ee:z}", "x"),
        ("${self?{x}:{y}}", "x"),
        ("${{$a} == {1} ? {t} : {f}}", "t"),
        ("${{$a} != {1} ? {t} : {f}}", "f"),
        ("${{2} < {10} ? {t} : {f}}", "t"),
        ("${{b} > {a} ? {t} : {f}}", "t"),
        ("${{ a } == {a} ? {t} : {f}}", "f"),
        ("${{3.6} >=level {3.10} ? {t} : {f}}", "f"),
        ("${{3} ==level {3.0.0} ? {t} : {f}}", "t"),
        ("${{ 3} ==level {+3} ? {t} : {f}}", "t"),
        ("${{7} < {+10} ? {t} : {f}}", "f"),
        ("${{1} == {1}}", "true"),
        ("${{1} == {2}}", ""),
        ("${{} == {$e} ? {t}}", "t"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "$", "$ a", "${a", "$(a", "$(a}", "${}", "${a b}", "${a.b}", "$self", "${a?{x}{y}}", "${a:{x}:{y}}",
        "${{x} >level {3} ? {t}}", "${{1} = {1} ? {t}}", "${{1}}", "${a?{x}", "a$", "${{1} < {9999999999999999999999}}",
    ],
)  # fmt: skip
def test_bad_syntax_is_refused(text: str) -> None:
    with pytest.raises(ExpandError):
        value(text)


def test_a_doubling_value_ends() -> None:
    names = {f"x{n}": f"$x{n + 1}$x{n + 1}" for n in range(60)}
    with pytest.raises(ExpandError, match="too long"):
        expand("$x0", names.get)


def test_a_doubling_of_nothing_ends() -> None:
    names = {f"x{n}": f"$x{n + 1}$x{n + 1}" for n in range(DEPTH - 10)}
    with pytest.raises(ExpandError):
        expand("$x0", names.get)


def test_references() -> None:
    assert references("$a ${b?{$c}:{$(d)}} ${{$e} == {x} ? {$f}}") == {"a", "b", "c", "d", "e", "f"}
