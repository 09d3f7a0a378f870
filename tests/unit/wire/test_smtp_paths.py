import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.wire.smtp_paths import PLAIN_MAIL, PLAIN_RCPT, parse_path, split_path, valid_orcpt


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("<>", ""),
        ("<a@b.c>", "a@b.c"),
        ("a@b.c", "a@b.c"),
        ("<a>", "a"),
        ("<@x,@y:a@b.c>", "a@b.c"),
        ('<"a b"@c.d>', "a b@c.d"),
        ('<"a\\"b"@c.d>', 'a"b@c.d'),
        ('<"a@b">', "a@b"),
        ("<a\\ b@c.d>", "a b@c.d"),
        ("<a@b@c.d>", "a@b@c.d"),
        ("<a@[1.2.3.4]>", "a@[1.2.3.4]"),
        ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
        ("<ü@ü.example>", "ü@ü.example"),
        ("<a@b.>", "a@b."),
    ],
)
def test_addresses(path: str, address: str) -> None:
    assert parse_path(path) == address


@pytest.mark.parametrize(
    "path",
    [
        "<a@b.c", "<", "<a b@c.d>", "<a@-b>", "<a@b-.c>", "<a@.b>", "<a@b..c>", "<a@1.2.3.4>", "<a@[junk]>",
        "<a@[::1]>", "<a>b@c>", "<a;@b.c>", "<a@b c>", '<"a@b.c>', "<a\\", "<a\r@b.c>", "<a\0@b.c>", "<a@b\r\nX: y>",
        "<(c)a@b.c>", "<a@" + "b" * 64 + ".c>", "<a@" + "b." * 130 + "c>", "<a@ü..b>",
    ],
)  # fmt: skip
def test_what_is_no_address(path: str) -> None:
    assert parse_path(path) is None


@given(st.text(max_size=60))
def test_no_control_character_passes(text: str) -> None:
    path, words = split_path(text)
    assert isinstance(words, list)
    address = parse_path(path)
    assert address is None or not any(char < " " or char == "\x7f" for char in address)


@given(st.from_regex(r"[A-Za-z0-9.=+-]{1,20}@[a-z0-9.-]{1,30}", fullmatch=True))
def test_the_short_way_agrees_with_the_long_one(address: str) -> None:
    for verb, plain in (("MAIL FROM", PLAIN_MAIL), ("RCPT TO", PLAIN_RCPT)):
        match = plain.match(f"{verb}:<{address}>".encode())
        if match is not None:
            assert parse_path(f"<{address}>") == match[1].decode() == address


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("rfc822;a+20b@c", True),
        ("rfc822;", True),
        ("utf-8;ü@c", True),
        ("rfc822;ü", False),
        ("a", False),
        (";a", False),
    ],
)
def test_orcpt(value: str, valid: bool) -> None:
    assert valid_orcpt(value) is valid
