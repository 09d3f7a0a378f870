"""smtpd_reject_footer, in the form in which the real smtpd sends it."""

import re

from postwarden.testing.reception import Peer, Reception


def peer(**parameters: str) -> tuple[Reception, Peer]:
    made = Reception("", relay_domains="relay.example", smtpd_error_sleep_time="0", **parameters)
    found = made.connect("192.0.2.7")
    found.say("HELO x")
    return made, found


def test_lines_of_their_own() -> None:
    footer = r"see http://x.example/$server_name/${client_address}\nsecond line"
    made, found = peer(smtpd_reject_footer=footer)
    assert found.say("MAIL") == (
        "501-5.5.4 Syntax: MAIL FROM:<address>\r\n"
        "501-5.5.4 see http://x.example/mx.example.com/192.0.2.7\r\n"
        "501 5.5.4 second line\r\n"
    )
    assert found.say("MAIL FROM:<a@b.example>") == "250 2.1.0 Ok\r\n"
    assert "see http" in found.say("RCPT TO:<stranger@far.example>")
    assert not any("see http" in line for line in made.log)


def test_on_the_same_line_with_time_and_port() -> None:
    _, found = peer(smtpd_reject_footer=r"\c. At $localtime from port $client_port")
    assert re.fullmatch(
        r"500 5\.5\.2 Error: command not recognized\. At \w{3} [ \d]\d \d\d:\d\d:\d\d from port 40000\r\n",
        found.say("NONSENSE"),
    )


def test_by_the_reply() -> None:
    maps = "regexp:{{/^500 5.5.2 Error/ read RFC 5321 at $$$$server_name}}"
    _, found = peer(smtpd_reject_footer_maps=maps, smtpd_reject_footer="else")
    assert found.say("NONSENSE").endswith("500 5.5.2 read RFC 5321 at mx.example.com\r\n")
    assert found.say("MAIL").endswith("501 5.5.4 else\r\n")


def test_what_it_can_not_use_is_left_out_and_said() -> None:
    for template in ("$sender", "${x"):
        made, found = peer(smtpd_reject_footer=template)
        assert found.say("NONSENSE") == "500 5.5.2 Error: command not recognized\r\n"
        assert any("reject footer not used" in line for line in made.log)
    made, found = peer(smtpd_reject_footer_maps="fail:no")
    assert found.say("NONSENSE") == "500 5.5.2 Error: command not recognized\r\n"
    assert any("smtpd_reject_footer_maps: fail:no" in line for line in made.log)


def test_with_soft_bounce() -> None:
    _, found = peer(smtpd_reject_footer="later", soft_bounce="yes")
    assert found.say("NONSENSE") == "400-4.5.2 Error: command not recognized\r\n400 4.5.2 later\r\n"
