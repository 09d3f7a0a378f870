from hypothesis import given
from hypothesis import strategies as st

from postwarden.mail.reply import Reply


def test_one_line_with_and_without_status() -> None:
    assert Reply(250, "2.1.0", "Ok").encode() == b"250 2.1.0 Ok\r\n"
    assert Reply(354, "", "End data with <CR><LF>.<CR><LF>").encode() == b"354 End data with <CR><LF>.<CR><LF>\r\n"


def test_every_line_has_code_and_status_and_all_but_the_last_a_dash() -> None:
    assert (
        Reply(550, "5.7.1", "no\nnot you\nnever").encode()
        == b"550-5.7.1 no\r\n550-5.7.1 not you\r\n550 5.7.1 never\r\n"
    )
    assert Reply(250, "", "mx\nPIPELINING").encode() == b"250-mx\r\n250 PIPELINING\r\n"


def test_text_is_utf8_and_what_was_not_stays_what_it_was() -> None:
    assert Reply(550, "5.1.1", "jörg").encode() == "550 5.1.1 jörg\r\n".encode()
    assert Reply(550, "5.1.1", b"j\xf6rg".decode("utf-8", "surrogateescape")).encode() == b"550 5.1.1 j\xf6rg\r\n"


@given(st.text(max_size=40), st.sampled_from(["", "5.7.1"]))
def test_no_text_forges_a_reply(text: str, status: str) -> None:
    """Texts come from tables and from other hosts; whatever they hold, the client reads one reply."""
    try:
        data = Reply(550, status, text).encode()
    except UnicodeEncodeError:  # a surrogate that stands for no byte: nothing is sent
        return
    lines = data.split(b"\r\n")
    assert lines.pop() == b""
    assert all(b"\r" not in line and b"\n" not in line for line in lines)
    assert [line[:4] for line in lines] == [b"550-"] * (len(lines) - 1) + [b"550 "]


def test_which_kind_it_is_follows_from_the_code() -> None:
    kinds = {
        code: (r.positive, r.temporary, r.permanent)
        for code in (250, 354, 450, 499, 500, 554)
        for r in [Reply(code, "", "")]
    }
    assert kinds == {
        250: (True, False, False), 354: (True, False, False), 450: (False, True, False), 499: (False, True, False),
        500: (False, False, True), 554: (False, False, True),
    }  # fmt: skip


def test_the_log_has_it_on_one_line() -> None:
    assert str(Reply(550, "5.7.1", "no\nnever")) == "550 5.7.1 no never"
    assert str(Reply(220, "", "mx ESMTP")) == "220 mx ESMTP"
