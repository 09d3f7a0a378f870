import pytest

from postwarden.config.arguments import normalised, overrides


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["-v", "-oa=1"], ["-v", "-o a=1"]),
        (["-vo", "a=1", "-vvob=2"], ["-v", "-o a=1", "-vv", "-o b=2"]),
        (["-o", "{ a = b c }"], ["-o {a=b c}"]),
        (["-o", "{a={b c}}"], ["-o {a={b c}}"]),
        (["-o"], ["-o"]),
        (["{-o}", "{a=b}"], ["-o a=b"]),
        (["x", "-o", "a=b", "{ c d }"], ["x", "-o", "a=b", "{c d}"]),
        (["-", "-o", "a=b"], ["-", "-o", "a=b"]),
        (["--", "-o", "a=b"], ["--", "-o", "a=b"]),
    ],
)
def test_one_form(words: list[str], shown: list[str]) -> None:
    warnings: list[str] = []
    assert [str(argument) for argument in normalised(words, warnings)] == shown
    assert warnings == []


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("{a=b", "missing '}' in \"{a=b\""),
        ("{a=b}c", "syntax error after '}' in \"{a=b}c\""),
        ("{a}", "missing '=' after attribute name: \"a\""),
        ("{a b=c}", "missing '=' after attribute name: \"a b=c\""),
    ],
)
def test_mistakes_are_told(word: str, text: str) -> None:
    warnings: list[str] = []
    normalised(["-o", word], warnings)
    assert warnings == [f"master.cf: {text}"]


def test_the_last_of_a_name_counts() -> None:
    words = ["-o", "a=1", "-o", "a=2", "-o", "b", "-o", "=c", "x", "-o", "d=1"]
    assert overrides(normalised(words, [])) == {"a": "2"}
