"""check_client_access with patterns, through the judge."""

from pathlib import Path

import pytest

from postwarden.addressing.resolve import open_resolver
from postwarden.mail.decision import Verdict
from postwarden.mail.envelope import Client
from postwarden.mail.session import SessionFacts
from postwarden.policy.judge import Judge
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings


def verdict(name: str, table: str, *, client: str = "localhost", address: str = "192.0.2.7") -> Verdict:
    configured = settings(
        mynetworks="192.0.2.0/24",
        local_recipient_maps="",
        smtpd_client_restrictions=f"{name} {table}",
    )
    tables = Tables.of(configured)
    judge = Judge(configured, "smtp/inet", tables, open_resolver(configured, tables))
    facts = SessionFacts(client=Client(address=address, name=client, helo="helo.example"), sender="a@b.example")
    return judge.recipient(facts, "x@mx.example.com").verdict


@pytest.mark.parametrize(
    ("kind", "text", "refused"),
    [
        ("cidr", "192.0.2.0/24 REJECT", True),
        ("regexp", "/^unknown$/ REJECT", True),
        ("cidr", "198.51.100.0/24 REJECT", False),
        ("regexp", r"/^192\.0\.2\.7$/ REJECT", True),
        ("regexp", "/^mail.far.example$/ REJECT", True),
        # A part of a name or an address is never matched with a pattern.
        ("regexp", r"/^192\.0\.2$/ REJECT", False),
        ("regexp", "/^far.example$/ REJECT", False),
    ],
)
@pytest.mark.parametrize("client", ["mail.far.example", "unknown"])
def test_patterns_see_name_and_address_whole(tmp_path: Path, kind: str, text: str, refused: bool, client: str) -> None:
    (tmp_path / "table").write_text(text + "\n")
    found = verdict("check_client_access", f"{kind}:{tmp_path}/table", client=client)
    other = ("mail" in text and client == "unknown") or ("unknown" in text and client != "unknown")
    assert (found is Verdict.REJECT) == (refused and not other)


def test_a_name_comes_before_the_address() -> None:
    table = "inline:{far.example=OK, 192.0.2=REJECT}"
    assert verdict("check_client_access", table, client="mail.far.example") is Verdict.PERMIT
    assert verdict("check_client_access", table, client="other.example") is Verdict.REJECT
