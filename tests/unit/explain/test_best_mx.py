"""What explain says of mail that would come back to this machine."""

import pytest

from postwarden.explain.ways import Ways
from postwarden.mail.status import Status
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

LOOP = Status("5.4.6", "mail for x.example loops back to myself")
MASTER_CF = """\
smtp unix - - n - - smtp
discard unix - - n - - discard
local unix - n n - - local
prog unix - n n - - pipe user=nobody argv=/bin/true
down unix - - n - - nonesuchd
"""


@pytest.mark.parametrize(
    ("value", "word", "said"),
    [
        ("", "bounced", "loops back to myself (5.4.6)"),
        ("local", "delivered", "best_mx_transport = local: on this machine, by local"),
        ("prog:", "delivered", "best_mx_transport = prog:: to /bin/true, run as nobody"),
        ("smtp:[inside.example]", "sent", "goes on by best_mx_transport = smtp:[inside.example]"),
        ("discard:x", "discarded", "best_mx_transport = discard:x"),
        ("smtp", "deferred", "goes on by best_mx_transport = smtp"),
        ("down", "deferred", "down in master.cf runs nonesuchd, which delivers nothing here: mail waits"),
        ("nosuch", "deferred", "goes on by best_mx_transport = nosuch"),
    ],
)
def test_where_it_goes(value: str, word: str, said: str) -> None:
    made = settings("", MASTER_CF, best_mx_transport=value)
    way = Ways(made, Tables.of(made), lambda service, nexthop: LOOP)("smtp/unix", "x.example", "a@x.example")
    assert (way.fate.word, way.fate.why.text.endswith(said)) == (word, True), way.fate
    assert (way.fate.why.origin.line == 1) is bool(value)
    assert ("relay_domains" in way.fate.cure and "proxy_interfaces" in way.fate.cure) is (value == "")
