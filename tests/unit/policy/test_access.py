import pytest

from postwarden.mail.envelope import Client
from postwarden.mail.session import SessionFacts
from postwarden.policy.access import Style, address_keys, client_keys, helo_keys
from postwarden.policy.question import Marks, Question, Subject

STYLE = Style(554, 450, "+", "<>", False, False)


def test_keys_of_an_address() -> None:
    assert list(address_keys("joe+x@a.b.example", STYLE)) == [
        "joe+x@a.b.example",
        "joe@a.b.example",
        "a.b.example",
        "b.example",
        "example",
        "joe+x@",
        "joe@",
    ]
    by_dot = Style(554, 450, "", "<>", True, False)
    assert list(address_keys("joe+x@a.example", by_dot)) == ["joe+x@a.example", "a.example", ".example", "joe+x@"]


@pytest.mark.parametrize(
    ("client", "keys"),
    [
        (Client("a.example", "192.0.2.1"), ["a.example", "example", "192.0.2.1", "192.0.2", "192.0", "192"]),
        (Client("unknown", "192.0.2.1"), ["unknown", "192.0.2.1", "192.0.2", "192.0", "192"]),
        (Client("unknown", "2001:db8::1"), ["unknown", "2001:db8::1", "2001:db8", "2001"]),
    ],
)
def test_keys_of_a_client(client: Client, keys: list[str]) -> None:
    question = Question(SessionFacts(client), Subject.CLIENT, Marks())
    assert [key for search in client_keys(STYLE)(question) for key in search] == keys


def test_no_helo_has_no_keys() -> None:
    assert not list(helo_keys(STYLE)(Question(SessionFacts(Client("a", "b")), Subject.HELO, Marks())))
