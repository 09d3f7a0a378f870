import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.deliver.smtp.downgrade import Downgrade, NestingError, needs_downgrade

CTE8 = b"Content-Transfer-Encoding: 8bit\r\n"


def convert(message: bytes, piece: int = 1 << 20) -> bytes:
    converter = Downgrade(100)
    out = b"".join(converter.feed(message[at : at + piece]) for at in range(0, len(message), piece))
    return out + converter.finish()


def test_a_text() -> None:
    assert convert(b"Subject: x\r\n" + CTE8 + b"\r\ncaf\xe9 = \r\n") == (
        b"Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9 =3D=20\r\n"
    )


@pytest.mark.parametrize("encoding", [b"7bit", b"base64", b"Quoted-Printable", b"x-unknown", b""])
def test_what_does_not_say_8bit_is_passed(encoding: bytes) -> None:
    message = b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\ncaf\xe9\r\n"
    assert convert(message) == message


def test_a_comment_does_not_hide_the_encoding() -> None:
    assert b"quoted-printable" in convert(b"Content-Transfer-Encoding: (a) 8bit\r\n\r\n\xe9\r\n")


def test_a_digest_has_messages_as_parts() -> None:
    message = (
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: inner\r\n"
        + CTE8
        + b"\r\n\xe9\r\n--b--\r\n"
    )
    assert b"\r\n=E9\r\n--b--\r\n" in convert(message)


def test_nesting_ends() -> None:
    head = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    with pytest.raises(NestingError):
        convert(b"".join(head % (n, n) for n in range(110)))


def test_a_header_without_end_is_not_kept() -> None:
    converter = Downgrade(100)
    for _ in range(100):
        converter.feed(b"X: " + b"y" * 50_000)
        converter.feed(b"\r\n " + b"z" * 50_000)
    assert sum(map(len, converter._header)) < 300_000


def test_whether_it_is_needed() -> None:
    assert needs_downgrade(b"CONTENT-TYPE: text/plain\r\n\r\n")
    assert not needs_downgrade(b"Subject: x\r\n\r\n")


bodies = st.lists(
    st.one_of(st.binary(max_size=100), st.sampled_from([b"\r\n", b"--b\r\n", b"--b--\r\n", CTE8, b"=", b" \r\n", b"."]))
).map(b"".join)
heads = st.sampled_from(
    [
        CTE8,
        b"Content-Type: multipart/mixed; boundary=b\r\n" + CTE8,
        b"Content-Type: message/rfc822\r\n",
        b"no header\r\n",
    ]
)


@given(heads, bodies)
def test_how_it_is_cut_makes_no_difference(head: bytes, body: bytes) -> None:
    message = head + b"\r\n" + body
    assert convert(message) == convert(message, 1) == convert(message, 13)


@given(bodies)
def test_a_text_is_7bit_with_short_lines_and_decodes_to_itself(body: bytes) -> None:
    out = convert(CTE8 + b"\r\n" + body)
    assert out.isascii()
    encoded = out.partition(b"\r\n\r\n")[2]
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    if b"\r" not in body.replace(b"\r\n", b"") and b"\n" not in body.replace(b"\r\n", b""):
        wanted = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
        assert quopri.decodestring(encoded.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n") == wanted


def test_boundaries_are_told_apart_by_their_beginning() -> None:
    """mime_boundary_length_limit, as smtp(8): the inner part's boundary ends the outer one."""
    message = (
        b'Content-Type: multipart/mixed; boundary="abcdefgh"\r\n\r\n--abcdXXXX\r\n'
        b"Content-Transfer-Encoding: 8bit\r\n\r\n\xe9\r\n--abcd--\r\n\xe9\r\n"
    )
    near = Downgrade(100, 4)
    assert near.feed(message).count(b"=E9") == 1
    whole = Downgrade(100, 8)
    assert whole.feed(message).count(b"=E9") == 0
