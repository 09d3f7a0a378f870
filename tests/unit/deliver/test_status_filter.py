import pytest

from postwarden.deliver.status_filter import StatusFilter
from postwarden.mail.status import Status
from postwarden.tables.opening import Tables

RULES = (
    r"/^4(\.\d+\.\d+ TLS is required, but was not offered .+)/ 5$1",
    r"/^(2\S+ secret).*/ $1",
    r"/^4\.1\.1 turns/ 2.0.0 well",
    r"/^4\.1\.2 odd/ nonsense",
    r"/^4\.1\.3 empty/ 5.0.0",
    r"/^4\.1\.4 temporary/ 4.9.9 later",
)
TABLE = "pcre:{" + ", ".join(f"{{{rule}}}" for rule in RULES) + "}"
RESULTS = {"turns": "2.0.0 well", "odd": "nonsense", "empty": "5.0.0"}
OFFERED = "TLS is required, but was not offered by host x[192.0.2.1]"


def made(table: str = TABLE, *, soft_bounce: bool = False) -> tuple[StatusFilter, list[str]]:
    said: list[str] = []
    return StatusFilter(Tables("/etc/postfix").maps((table,)), said.append, soft_bounce=soft_bounce), said


@pytest.mark.parametrize(
    ("code", "text", "after"),
    [
        ("4.7.4", OFFERED, ("5.7.4", OFFERED)),
        ("2.0.0", "secret things", ("2.0.0", "secret")),
        ("4.1.4", "temporary", ("4.9.9", "later")),
        ("4.4.1", "other", ("4.4.1", "other")),
    ],
)
def test_code_and_text(code: str, text: str, after: tuple[str, str]) -> None:
    change, said = made()
    status = change(Status(code, text, "mx[192.0.2.1]:25", "mx", "450 x"))
    assert (status.code, status.text) == after
    assert (status.relay, status.remote_mta, status.remote_reply) == ("mx[192.0.2.1]:25", "mx", "450 x")
    assert said == []
    assert (status.cause == "delivery status filter" and "pcre:" in status.origin) == (after != (code, text))


@pytest.mark.parametrize(("code", "text"), [("4.1.1", "turns"), ("4.1.2", "odd"), ("4.1.3", "empty")])
def test_failure_never_becomes_success_nor_nonsense(code: str, text: str) -> None:
    change, said = made()
    assert change(Status(code, text)) == Status(code, text)
    assert said == [f"delivery status filter: bad status code: {RESULTS[text]}"]


def test_soft_bounce_stays() -> None:
    change, _ = made(soft_bounce=True)
    status = change(Status("4.7.4", OFFERED))
    assert (status.code, status.soft) == ("4.7.4", True)


def test_a_table_that_fails_changes_nothing() -> None:
    change, said = made("fail:it")
    assert change(Status("4.0.0", "x")) == Status("4.0.0", "x")
    assert said and made("inline:{a=b}")[0]
