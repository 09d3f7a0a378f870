import pytest

from postwarden.receive.networks import Networks


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "address", "counted"),
    [
        (32, 84, "192.0.2.9", "192.0.2.9"),
        (24, 84, "192.0.2.9", "192.0.2.0/24"),
        (0, 84, "192.0.2.9", "0.0.0.0/0"),
        (32, 84, "2001:db8::1:2:3", "2001:db8::/84"),
        (32, 64, "2001:db8:0:0:ffff::1", "2001:db8::/64"),
        (32, 128, "2001:db8::1", "2001:db8::1"),
        (24, 64, "unknown", "unknown"),
        (24, 64, "fe80::1%eth0", "fe80::/64"),
        (24, 64, "::1::2", "::1::2"),
        (24, 64, "", ""),
    ],
)
def test_networks(ipv4: int, ipv6: int, address: str, counted: str) -> None:
    assert Networks(ipv4, ipv6)(address) == counted
