import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.deliver.body import FileBody
from postwarden.deliver.local import letter
from postwarden.deliver.local.letter import Letter, envelope_line, local_headers
from postwarden.mail.envelope import Recipient

HEAD = b"From: a\r\nSubject: b\r\n\r\n"


def text(head: bytes, body: bytes, *, quote: bool) -> bytes:
    return b"".join(Letter("s@x", head, body).pieces("", b"", quote=quote))


def test_lines_end_in_lf_and_from_is_quoted() -> None:
    body = b"From me\r\n>From you\r\nfrom small\r\n From space\r\n.dot\r\nx\ry\r\n"
    expected = b"From: a\nSubject: b\n\n>From me\n>From you\nfrom small\n From space\n.dot\nx\ry\n"
    assert text(HEAD, body, quote=True) == expected
    assert text(HEAD, body, quote=False) == expected.replace(b">From me", b"From me")


def test_a_message_without_header_or_last_line_end() -> None:
    assert text(b"", b"From me", quote=True) == b">From me\n"
    assert text(b"", b"", quote=True) == b"\n"


def test_all_in_one_piece() -> None:
    pieces = list(Letter("s@x", HEAD, b"x\r\n").pieces("From s\n", b"\n", quote=True))
    assert pieces == [b"From s\nFrom: a\nSubject: b\n\nx\n\n"]


@given(body=st.lists(st.sampled_from([b"From ", b"\r\n", b"\r", b"\n", b"x", b"From", b"y" * 40])).map(b"".join))
def test_a_body_in_a_file_gives_the_same(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.mktemp("body") / "body"
    path.write_bytes(b"other" + body)
    for size in (1, 7, 30):
        with pytest.MonkeyPatch.context() as patch, path.open("rb") as stream:
            patch.setattr(letter, "_CHUNK", size)
            there = Letter("s@x", HEAD, FileBody(stream.fileno(), 5, len(body)))
            for quote in (True, False):
                whole = text(HEAD, body, quote=quote)
                assert b"".join(there.pieces("", b"", quote=quote)) == whole


def test_delivered_to() -> None:
    head = b'X: Delivered-To: no@x\r\ndelivered-TO:  Joe@X \r\nDelivered-To: "jo e"@x\r\n\r\n'
    there = Letter("s@x", head, b"Delivered-To: body@x\r\n")
    assert there.delivered_to("joe@x")
    assert there.delivered_to("jo e@x")
    assert not there.delivered_to("no@x")
    assert not there.delivered_to("body@x")


def test_envelope_line() -> None:
    line = envelope_line("s@x.example", 1_700_000_000)
    assert line.startswith("From s@x.example  ")
    assert line.split()[2] == "Tue" or line.split()[2] in ("Mon", "Wed")
    assert line.endswith(" 2023\n")
    assert envelope_line("", 0).startswith("From MAILER-DAEMON  ")
    assert envelope_line("a b@x", 0).startswith('From "a b"@x  ')


def test_headers() -> None:
    given_as = Recipient("joe@x", "Joe+list@y")
    assert local_headers("", given_as, "joe@x", original=True) == (
        "Return-Path: <>\nX-Original-To: Joe+list@y\nDelivered-To: joe@x\n"
    )
    assert local_headers("s@x", Recipient("joe@x"), "", original=True) == ("Return-Path: <s@x>\nX-Original-To: joe@x\n")
    assert local_headers("s@x", given_as, "", original=False) == "Return-Path: <s@x>\n"


def test_no_address_makes_a_line() -> None:
    evil = "a\nFrom evil\n\n@x"
    assert local_headers(evil, Recipient(evil), evil, original=True).count("\n") == 3
    assert envelope_line(evil, 0).count("\n") == 1
