import pytest

from postwarden.wire.policy import MAX_REPLY, PolicyError, ReplyReader, encode_request


def test_a_request_is_lines_and_an_empty_one() -> None:
    assert encode_request([("request", "smtpd_access_policy"), ("sender", "ü@x")]) == (
        "request=smtpd_access_policy\nsender=ü@x\n\n".encode()
    )


def test_a_value_adds_no_attribute() -> None:
    assert encode_request([("helo_name", "x\nsasl_username=root\n\n\0\r")]) == b"helo_name=x?sasl_username=root????\n\n"
    assert encode_request([("helo_name", "\udc80")]) == b"helo_name=?\n\n"


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_reply_comes_in_pieces(cut: int) -> None:
    reader = ReplyReader()
    data = b"action=450 4.7.1 = x\n\n"
    assert reader.receive(data[:cut]) is None
    assert reader.receive(data[cut:]) == "450 4.7.1 = x"


def test_other_attributes_are_for_other_clients() -> None:
    assert ReplyReader().receive(b"x=y\naction=OK\nz\n\n") == "OK"
    assert ReplyReader().receive(b"action=\n\n") == ""


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\n", "without attributes"),
        (b"hello\n\n", "missing attribute action"),
        (b"actions=OK\n\n", "missing attribute action"),
        (b"action=OK\n\naction=OK\n\n", "after the end"),
        (b"action=\xff\n\n", "malformed UTF-8"),
        (b"x" * (MAX_REPLY + 1), "longer than"),
    ],
)
def test_what_is_no_reply(data: bytes, error: str) -> None:
    with pytest.raises(PolicyError, match=error):
        ReplyReader().receive(data)
