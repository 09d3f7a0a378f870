import pytest

from postwarden.deliver.discard import discard
from postwarden.deliver.error import error
from postwarden.mail.status import Status


@pytest.mark.parametrize(
    ("nexthop", "service", "code", "text"),
    [
        ("5.1.1 no such thing", "error", "5.1.1", "no such thing"),
        ("text only", "error", "5.0.0", "text only"),
        ("4.2.0 temp", "error", "5.0.0", "temp"),
        ("", "error", "5.0.0", "Address is undeliverable"),
        ("5.x y", "error", "5.0.0", "5.x y"),
        ("5.1.1", "error", "5.1.1", "Address is undeliverable"),
        ("4.3.1 later", "retry", "4.3.1", "later"),
        ("5.0.1 x", "retry", "4.0.0", "x"),
    ],
)
def test_error(nexthop: str, service: str, code: str, text: str) -> None:
    assert error(nexthop, service) == Status(code, text, "none")


@pytest.mark.parametrize(
    ("nexthop", "code", "text"),
    [("2.7.1 quietly", "2.7.1", "quietly"), ("gone", "2.0.0", "gone"), ("5.1.1 no", "2.0.0", "no")],
)
def test_discard(nexthop: str, code: str, text: str) -> None:
    assert discard(nexthop) == Status(code, text, "none")
