"""What a master.cf entry of pipe says."""

import pytest

from postwarden.deliver.pipe.attributes import Attributes, BadAttribute, parse


def test_the_least() -> None:
    assert parse(("user=vmail", "argv=/bin/cat", "-u")) == Attributes("vmail", ("/bin/cat", "-u"))


def test_everything() -> None:
    words = (
        "-v", "flags=BDFORXhqu.>", "user=a:b", "directory=/d", "chroot=/c", "eol=\\r\\n", "null_sender=", "size=1000",
        "argv=", "/bin/cat", "user=x",
    )  # fmt: skip
    assert parse(words) == Attributes(
        "a", ("/bin/cat", "user=x"), "b", frozenset("BDFORXhqu.>"), "/d", "/c", b"\r\n", "", 1000
    )


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("argv=/bin/true",), "missing user="),
        (("user=x",), "missing argv="),
        (("user=x", "argv="), "missing argv="),
        (("user=x:", "argv=y"), "missing group"),
        (("flags=Z", "user=x", "argv=y"), "unknown flag: Z"),
        (("foo=bar", "user=x", "argv=y"), "unknown attribute name: foo=bar"),
        (("user=x", "stray", "argv=y"), "unknown attribute name: stray"),
        (("size=-1", "user=x", "argv=y"), "bad size= value: -1"),
        (("size=٣", "user=x", "argv=y"), "bad size= value"),
        ((), "missing user="),
    ],
)
def test_mistakes(words: tuple[str, ...], error: str) -> None:
    with pytest.raises(BadAttribute, match=error):
        parse(words)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [("\\n", b"\n"), ("\\r\\n", b"\r\n"), ("\\0", b"\0"), ("\\015\\12", b"\r\n"), ("\\\\", b"\\"), ("\\q", b"q"),
     ("", b""), ("\\a\\b\\f\\t\\v", b"\a\b\f\t\v"), ("\\777", b"\xff"), ("\\8", b"8")],
)  # fmt: skip
def test_line_ends(written: str, wanted: bytes) -> None:
    assert parse((f"eol={written}", "user=x", "argv=y")).eol == wanted
