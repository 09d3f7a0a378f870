from pathlib import Path

import pytest

from postwarden.cli.checking import domains
from postwarden.config.settings import load
from postwarden.testing.config import settings


def said(main_cf: str) -> list[tuple[str, int, str]]:
    found = domains.findings(settings(main_cf))
    return [(f.severity, f.origin.line, f.what) for f in found]


@pytest.mark.parametrize(
    "main_cf",
    [
        "mydestination = a.example\nvirtual_alias_domains = b.example\nvirtual_mailbox_domains = c.example\n",
        "mydestination = a.example\nvirtual_alias_maps = inline:{x@a.example=y}\n",
        "mydestination = a.example, localhost\nrelay_domains = $mydestination\n",
        "mydestination = !a.example\nvirtual_mailbox_domains = a.example\n",
    ],
)
def test_nothing_is_said_of(main_cf: str) -> None:
    assert said(main_cf) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mydestination", "virtual_alias_domains"),
        ("mydestination", "virtual_mailbox_domains"),
        ("virtual_alias_domains", "virtual_mailbox_domains"),
        ("virtual_mailbox_domains", "relay_domains"),
    ],
)
def test_a_domain_in_two_classes_is_named_as_postfix_names_it(first: str, second: str) -> None:
    (only,) = said(f"{first} = a.example\n{second} = A.example, b.example\n")
    assert only == ("warning", 2, f"do not list domain a.example in BOTH {first} and {second}")


def test_tables_and_files_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(
        f"compatibility_level = 3.6\nmydestination = {tmp_path}/local\nvirtual_alias_maps = hash:virtual\n"
        "virtual_mailbox_domains = hash:mailboxes\n"
    )
    (tmp_path / "local").write_text("# ours\na.example\n")
    (tmp_path / "virtual").write_text("a.example anything\nx@b.example y\n")
    (tmp_path / "mailboxes").write_text("# one\nb.example x\na.example x\n")
    found = [(f"{f.origin}".rpartition("/")[2], f.what) for f in domains.findings(load(tmp_path))]
    assert found == [
        ("virtual:1", "do not list domain a.example in BOTH mydestination and virtual_alias_domains"),
        ("mailboxes:3", "do not list domain a.example in BOTH mydestination and virtual_mailbox_domains"),
        ("mailboxes:3", "do not list domain a.example in BOTH virtual_alias_domains and virtual_mailbox_domains"),
    ]
