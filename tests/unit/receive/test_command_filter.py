"""smtpd_command_filter, beside what tests/dialogues/command_filter*.smtp hold."""

from postwarden.testing.reception import Reception

HEARD = "421 4.3.0 mx.example.com Server local data error"


def test_a_filter_that_cannot_be_asked_ends_the_session() -> None:
    made = Reception(smtpd_command_filter="fail:x")
    peer = made.connect()
    peer.hear()
    assert peer.say("HELO x", "QUIT") == f"{HEARD}\r\n"
    assert peer.closed
    assert made.log[1:] == [
        "smtpd: warning: fail:x: this type of table always fails: lookup error in smtpd_command_filter",
        f"smtpd: NOQUEUE: reject: CONNECT from localhost[127.0.0.1]: {HEARD}",
        "smtpd: disconnect from localhost[127.0.0.1] commands=0/0",
    ]


def test_content_is_not_filtered() -> None:
    made = Reception(smtpd_command_filter="pcre:{{/^SECRET/ QUIT}}", relay_domains="relay.example")
    peer = made.connect()
    said = peer.say("HELO x", "MAIL FROM:<>", "RCPT TO:<x@relay.example>", "DATA", "a: b", "", "SECRET", ".", "SECRET")
    assert said.splitlines()[-2:][0].startswith("250 2.0.0 Ok: queued as ")
    assert said.endswith("221 2.0.0 Bye\r\n")
    assert made.store.messages[0][2] == b"SECRET\r\n"


def test_a_line_that_comes_in_pieces_is_filtered_once() -> None:
    made = Reception(smtpd_command_filter="pcre:{{/^HI/ HELO x}}")
    peer = made.connect()
    peer.hear()
    assert peer.say(b"H", b"I\r", b"\n") == "250 mx.example.com\r\n"
    assert sum("replacing" in line for line in made.log) == 1


def test_a_replacement_may_be_refused_as_any_command() -> None:
    made = Reception(smtpd_command_filter="pcre:{{/^MAIL/ MAIL FROM:<a b>}}")
    peer = made.connect()
    peer.hear()
    assert peer.say("HELO x", "MAIL FROM:<>").splitlines()[1].startswith("501 5.1.7 ")


def test_what_is_no_utf8_passes_as_it_came() -> None:
    made = Reception(smtpd_command_filter="pcre:{{/^nothing/ NOOP}}")
    peer = made.connect()
    peer.hear()
    assert peer.say("HELO x", b"MAIL FROM:<\xff@b.example>\r\n").splitlines()[1] == "500 5.5.2 Error: bad UTF-8 syntax"
