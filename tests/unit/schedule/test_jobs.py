import pytest

from postwarden.mail.envelope import Recipient
from postwarden.schedule.jobs import verp_sender


@pytest.mark.parametrize(
    ("sender", "recipient", "expected"),
    [
        ("owner@list.example", Recipient("ann@host.example"), "owner+ann=host.example@list.example"),
        ("owner", Recipient("ann@host.example"), "owner+ann=host.example"),
        ("owner@list.example", Recipient("ann"), "owner+ann@list.example"),
        ("owner@list.example", Recipient("ann@new.example", "ann@old.example"), "owner+ann=old.example@list.example"),
        ("a@b@list.example", Recipient("x@y@host.example"), "a@b+x@y=host.example@list.example"),
    ],
)
def test_verp(sender: str, recipient: Recipient, expected: str) -> None:
    assert verp_sender(sender, recipient, "+=") == expected
