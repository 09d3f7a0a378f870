"""Arguments with macros; the expected ones are what pipe(8) of Postfix 3.7 made of the same, but for the empty user."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.deliver.pipe.attributes import Attributes, BadAttribute
from postwarden.deliver.pipe.macros import Template
from postwarden.ipc.records import Job
from postwarden.mail.envelope import Client, Recipient

CLIENT = Client("client.example", "192.0.2.1", 4711, helo="[192.0.2.1]", protocol="ESMTP", login="ann")


def job(sender: str = "Sender@example.org", client: Client | None = CLIENT) -> Job:
    return Job(1, "p", "NextHop.Example", "QID", 0, 0, sender, (), 309, b"", b"", client=client)


def argv(words: str, *recipients: str, flags: str = "", sender: str = "Sender@example.org") -> list[str]:
    template = Template(Attributes("x", tuple(words.split("|")), flags=frozenset(flags)), "+")
    return list(template.argv(job(sender), [Recipient(address) for address in recipients]))


def test_of_the_message() -> None:
    words = "$sender|${nexthop}|$(size)|$queue_id|$client_address|$client_helo|$client_hostname|$client_port"
    assert argv(words, "u@x") == [
        "Sender@example.org", "NextHop.Example", "309", "QID", "192.0.2.1", "[192.0.2.1]", "client.example", "4711",
    ]  # fmt: skip
    assert argv("$client_protocol|$sasl_username|a$sasl_method|b$sasl_sender", "u@x") == ["ESMTP", "ann", "a", "b"]


def test_mail_of_this_machine_has_no_client() -> None:
    template = Template(Attributes("x", ("$client_address", "$client_port", "end")), "+")
    assert template.argv(job(client=None), [Recipient("u@x")]) == ("", "", "end")


def test_an_argument_for_each_recipient() -> None:
    to = ("u+e@pm.example", "v@pm.example", "+only@pm.example", "x+@pm.example")
    assert argv("$user|$extension|end", *to) == ["u", "v", "+only", "x", "e", "", "", "", "end"]
    assert argv("a$user,$extension,b", *to) == ["au,e,b", "av,,b", "a+only,,b", "ax,,b"]
    assert argv("$domain|$mailbox", *to[:2]) == ["pm.example", "pm.example", "u+e", "v"]


def test_an_empty_user_keeps_its_place() -> None:
    assert argv("-d|$user|-x", "@pm.example") == ["-d", "", "-x"]


def test_folding_and_quoting() -> None:
    to = ("U+E@PM2.example", "@x@pm2.Example", "a b@X")
    assert argv("$user|$domain", *to, flags="hqu") == ["u", "@x", "a b", "pm2.example", "pm2.example", "x"]
    assert argv("$recipient|$sender", *to, flags="hqu", sender="Se nd@example.org") == [
        "u+e@pm2.example", '"@x"@pm2.example', '"a b"@x', '"Se nd"@example.org',
    ]  # fmt: skip
    assert argv("$recipient|$nexthop", *to[:1]) == ["U+E@PM2.example", "NextHop.Example"]
    assert argv("$nexthop", "u@x", flags="h") == ["nexthop.example"]


def test_the_original_recipient() -> None:
    template = Template(Attributes("x", ("$original_recipient",)), "")
    assert template.argv(job(), [Recipient("a@x", "First@x"), Recipient("b@x")]) == ("First@x", "b@x")


def test_the_null_sender() -> None:
    assert argv("$sender", "u@x", sender="") == ["MAILER-DAEMON"]
    template = Template(Attributes("x", ("-f", "$sender", "--"), null_sender=""), "")
    assert template.argv(job(""), [Recipient("u@x")]) == ("-f", "", "--")


def test_dollars() -> None:
    assert argv("x$$y|$$recipient", "u@x") == ["x$y", "$recipient"]


@pytest.mark.parametrize("text", ["$", "a$", "${}", "$nosuch", "${extension?yes}", "${ user }", "$-"])
def test_what_pipe_does_not_know(text: str) -> None:
    with pytest.raises(BadAttribute, match="macro name"):
        argv(text, "u@x")


@given(st.text(max_size=20), st.text(max_size=20))
def test_an_address_is_never_a_macro_nor_two_arguments(local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    assert argv("$recipient|end", address) == [address.replace("\0", ""), "end"]
