import socket

import pytest

from postwarden.config.errors import ConfigError
from postwarden.ipc.records import Listener
from postwarden.roles import listeners as module
from postwarden.roles.listeners import Sockets, bind, listeners
from postwarden.testing.config import settings


def places(master_cf: str, **parameters: str) -> list[tuple[str, int]]:
    return [(x.address, x.port) for x in listeners(settings(master_cf_text=master_cf, **parameters))]


@pytest.fixture(autouse=True)
def _both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_ipv6", lambda: True)


def test_all_interfaces_of_both_protocols_by_default() -> None:
    assert places("smtp inet n - n - - smtpd\n", inet_protocols="all") == [("0.0.0.0", 25), ("::", 25)]


def test_protocols_choose_the_addresses() -> None:
    smtp = "smtp inet n - n - - smtpd\n"
    assert places(smtp, inet_protocols="ipv4", inet_interfaces="all") == [("0.0.0.0", 25)]
    assert places(smtp, inet_protocols="ipv6", inet_interfaces="loopback-only") == [("::1", 25)]
    assert places(smtp, inet_protocols="ipv4", inet_interfaces="127.0.0.2, 127.0.0.3") == [
        ("127.0.0.2", 25),
        ("127.0.0.3", 25),
    ]


def test_an_address_of_the_service_beats_inet_interfaces() -> None:
    found = listeners(
        settings(
            master_cf_text="127.0.0.1:2525 inet n - n - - smtpd\n[::1]:10025 inet n - n - - smtpd\n",
            inet_interfaces="192.0.2.1",
        )
    )
    assert found == [Listener("127.0.0.1:2525/inet", "127.0.0.1", 2525), Listener("[::1]:10025/inet", "::1", 10025)]


def test_only_inet_services_of_smtpd_listen() -> None:
    assert places("x unix - - n - - smtpd\n127.0.0.1:9 inet n - n - 1 spawn\npickup unix n - n 60 1 pickup\n") == []


@pytest.mark.parametrize("name", ["no-such-port", "65536", "127.0.0.1:no-such-port"])
def test_an_unknown_port_names_the_line(name: str) -> None:
    with pytest.raises(ConfigError, match=r"master\.cf:2: .*unknown service name or port"):
        places(f"127.0.0.1:2525 inet n - n - - smtpd\n{name} inet n - n - - smtpd\n")


@pytest.mark.parametrize("name", ["no.such.host.invalid", "h\x86st.invalid", "x" * 64 + ".invalid"])
def test_an_unknown_host_names_the_line(name: str) -> None:
    with pytest.raises(ConfigError, match=r"master\.cf:1: .*host not found: "):
        places(f"{name}:25 inet n - n - - smtpd\n")


def test_two_services_on_one_place_are_an_error_with_both_lines() -> None:
    with pytest.raises(ConfigError, match=r"master\.cf:2: .*127\.0\.0\.1 port 25.*master\.cf:1"):
        places("127.0.0.1:smtp inet n - n - - smtpd\n127.0.0.1:25 inet n - n - - smtpd\n")


def test_bind_listens_and_a_second_one_names_the_place() -> None:
    first = bind(Listener("x", "127.0.0.1", 0))
    with first:
        port: int = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=20):
            pass
        with pytest.raises(OSError, match=f"bind 127.0.0.1 port {port}: Address already in use"):
            bind(Listener("x", "127.0.0.1", port))


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(OSError, match=r"bind 192\.0\.2\.77 port 0: Cannot assign"):
        bind(Listener("x", "192.0.2.77", 0))


def test_clients_of_a_postscreen_come_to_the_smtpd_behind_it() -> None:
    master_cf = "2525 inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n  -o smtpd_helo_required=yes\n"
    found = listeners(settings(master_cf_text=master_cf, inet_interfaces="127.0.0.1"))
    assert found == [Listener("smtpd/pass", "127.0.0.1", 2525)]


def test_a_postscreen_with_nobody_behind_it_keeps_no_other_service_down() -> None:
    master_cf = "2525 inet n - n - 1 postscreen\nother pass - - n - - smtpd\n2526 inet n - n - - smtpd\n"
    found = listeners(settings(master_cf_text=master_cf, inet_interfaces="127.0.0.1"))
    assert found == [Listener("2526/inet", "127.0.0.1", 2526)]


def test_an_address_that_can_not_be_had_changes_nothing() -> None:
    old, new, foreign = Listener("x", "127.0.0.1", 0), Listener("x", "127.0.0.2", 0), Listener("x", "192.0.2.77", 0)
    sockets = Sockets()
    sockets.rebind((old,))
    try:
        with pytest.raises(OSError, match=r"192\.0\.2\.77"):
            sockets.rebind((new, foreign))
        assert [one in sockets for one in (old, new, foreign)] == [True, False, False]
        sockets.rebind((new,))
        assert [one in sockets for one in (old, new)] == [False, True]
    finally:
        sockets.close()


def test_a_load_balancer_in_front_is_known_by_its_listener() -> None:
    master_cf = (
        "2525 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n"
        "2526 inet n - n - 1 postscreen\n -o postscreen_upstream_proxy_protocol=haproxy\n"
        " -o postscreen_upstream_proxy_timeout=9s\nsmtpd pass - - n - - smtpd\n2527 inet n - n - - smtpd\n"
    )
    found = listeners(settings(master_cf_text=master_cf, inet_interfaces="127.0.0.1"))
    assert [(one.service, one.port, one.patience) for one in found] == [
        ("2525/inet", 2525, 5), ("smtpd/pass", 2526, 9), ("2527/inet", 2527, 0),
    ]  # fmt: skip


def test_a_protocol_that_nobody_speaks_is_an_error() -> None:
    master_cf = "2525 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=proxy2\n"
    with pytest.raises(ConfigError, match=r"unsupported smtpd_upstream_proxy_protocol value: proxy2"):
        listeners(settings(master_cf_text=master_cf, inet_interfaces="127.0.0.1"))


def test_the_window_is_that_of_every_socket_that_listens() -> None:
    (named,) = listeners(settings(master_cf_text="127.0.0.1:25 inet n - n - - smtpd\n", tcp_windowsize="8192"))
    assert named.window == 8192
    sockets = Sockets()
    for size in (0, 8192, 16384):
        listener = Listener("x", "127.0.0.1", 0, window=size)
        sockets.rebind((listener,))
        with socket.socket(fileno=sockets.descriptor(listener)) as sock:
            found = [sock.getsockopt(socket.SOL_SOCKET, name) for name in (socket.SO_SNDBUF, socket.SO_RCVBUF)]
        assert not size or found == [2 * size] * 2  # the kernel keeps as much again for itself: socket(7)
    sockets.close()
