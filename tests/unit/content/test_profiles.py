import pytest

from postwarden.config.errors import ConfigError
from postwarden.content.prepare import Prepared
from postwarden.content.profiles import Profiles
from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

MAIN = """\
virtual_alias_maps = inline:{a@in.example=b@in.example}
canonical_maps = inline:{s@in.example=c@in.example}
masquerade_domains = in.example
always_bcc = archive@in.example
cleanup_service_name = $chosen
chosen = cleanup
"""
MASTER = """\
25 inet n - n - - smtpd
    -o receive_override_options=no_address_mappings,no_milters
10025 inet n - n - - smtpd
lost inet n - n - - smtpd -o chosen=nobody
odd inet n - n - - smtpd -o receive_override_options=no_mercy
scrub unix n - n - 0 cleanup -o message_drop_headers=x-secret
"""


class Addressing:
    def rewrite(self, address: str) -> str:
        return address

    def by_name_alone(self, domain: str) -> bool:
        return False


def profiles() -> Profiles:
    config = settings(MAIN, MASTER)
    return Profiles(config, Tables.of(config), Addressing(), lambda event: None)


def prepared(key: str, name: str = "cleanup") -> Prepared:
    envelope = Envelope("ID", 0.0, "s@in.example", (Recipient("a@in.example"),), 1, client=Client("x", "192.0.2.1"))
    made = profiles().of(key)[name](envelope, b"X-Secret: y\r\nSubject: x\r\n\r\n")
    assert isinstance(made, Prepared)
    return made


def test_addresses_are_mapped_and_copied() -> None:
    made = prepared("10025/inet")
    assert made.envelope.sender == "c@in.example"
    assert {r.address for r in made.envelope.recipients} == {"b@in.example", "archive@in.example"}


def test_before_a_content_filter_they_stay() -> None:
    made = prepared("25/inet")
    assert made.envelope.sender == "s@in.example"
    assert [r.address for r in made.envelope.recipients] == ["a@in.example"]


def test_the_cleanup_service_is_kept() -> None:
    assert b"X-Secret" not in prepared("25/inet", "scrub").head
    assert b"X-Secret" in prepared("25/inet").head


@pytest.mark.parametrize(("key", "said"), [("lost/inet", "no cleanup service nobody"), ("odd/inet", "no_mercy")])
def test_what_nobody_knows_is_an_error(key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        profiles().of(key)


def test_a_look_at_lists() -> None:
    found = profiles()
    found.of("25/inet")
    found.of("10025/inet")
    found.refresh()
