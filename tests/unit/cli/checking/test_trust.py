from pathlib import Path

import pytest
from msgspec.structs import replace

from postwarden.cli.checking import trust
from postwarden.config.system import System
from postwarden.testing.config import settings

LISTENER = "smtp inet n - n - - smtpd\n"
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
BRIDGE = ROUTES.splitlines()[0] + "\ndocker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"


def said(main_cf: str, master_cf: str = LISTENER, root: str = "/nonexistent") -> list[tuple[str, int, str]]:
    found = trust.findings(settings(main_cf, master_cf), root)
    return [(f.severity, f.origin.line, f.what) for f in found]


@pytest.mark.parametrize(
    "main_cf",
    [
        "",
        "mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\n",
        "mynetworks = 127.0.0.0/8, 10.0.0.0/8, [fe80::]/10, [fd00::]/8, 198.51.100.0/24, [2001:db8::]/32\n",
        "mynetworks = 127.0.0.1 !192.168.1.1 192.168.1.0/24 static.example .lan.example\n",
        "mynetworks = 127.0.0.1 hash:/nonexistent/clients cidr:/nonexistent/more\n",
    ],
)
def test_nothing_is_said_of(main_cf: str) -> None:
    assert said(main_cf) == []


@pytest.mark.parametrize("element", ["0.0.0.0/0", "[::]/0", "static:all", "[::ffff:0:0]/96"])
def test_the_whole_internet_is_an_error(element: str) -> None:
    found = said(f"mynetworks = 127.0.0.0/8 {element}\n")
    assert ("error", 1, f"mynetworks: {element} is the whole internet") in found


@pytest.mark.parametrize("element", ["64.0.0.0/8", "[2000::]/3"])
def test_more_than_one_site_has_is_a_warning(element: str) -> None:
    assert said(f"mynetworks = 127.0.0.0/8 {element}\n") == [
        ("warning", 1, f"mynetworks: {element} is wider than what one site has")
    ]


def test_a_network_in_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "nets").write_text("# ours\n127.0.0.1\n0.0.0.0/0\n")
    (found,) = trust.findings(settings(f"mynetworks = {tmp_path}/nets\n", LISTENER), "/nonexistent")
    assert str(found.origin) == f"{tmp_path}/nets:3"


def test_a_listener_with_networks_of_its_own() -> None:
    found = said("", LISTENER + "10025 inet n - n - - smtpd -o mynetworks=0.0.0.0/0\n")
    assert found == [("error", 2, "mynetworks: 0.0.0.0/0 is the whole internet")]


def test_programs_on_this_machine_are_not_trusted() -> None:
    assert said("mynetworks = 10.0.0.0/8\n") == [("note", 1, "mynetworks does not trust 127.0.0.1")]
    assert said("mynetworks = [::ffff:]/104 [::1]/128,\n") == [("error", 1, "mynetworks does not trust 127.0.0.1")]


def root(tmp_path: Path, routes: str, *, container: bool) -> str:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(routes)
    if container:
        (tmp_path / ".dockerenv").touch()
    return str(tmp_path)


def test_the_gateway_of_a_container_is_no_friend(tmp_path: Path) -> None:
    place = root(tmp_path, ROUTES, container=True)
    found = said("mynetworks = 127.0.0.0/8 172.16.0.0/12\n", root=place)
    assert found == [("warning", 1, "mynetworks trusts 172.17.0.1, the gateway of the container that this runs in")]
    assert said("mynetworks = 127.0.0.0/8 172.17.0.2\n", root=place) == []
    assert said("mynetworks = 127.0.0.0/8 !172.17.0.1 172.16.0.0/12\n", root=place) == []
    assert len(said("mynetworks = 127.0.0.0/8 172.16.0.0/12 !172.17.0.1\n", root=place)) == 1  # too late


def test_an_ordinary_router_may_be_in_the_network_of_the_office(tmp_path: Path) -> None:
    place = root(tmp_path, ROUTES.replace("010011AC", "0101A8C0"), container=False)
    assert said("mynetworks = 127.0.0.0/8 192.168.0.0/16\n", root=place) == []


def test_our_own_address_on_a_bridge_for_containers(tmp_path: Path) -> None:
    place = root(tmp_path, BRIDGE, container=False)
    chosen = settings("mynetworks = 127.0.0.0/8 172.17.0.0/16\n", LISTENER)
    chosen = replace(chosen, system=System("mx.example.com", ("127.0.0.1/8", "192.0.2.1/24", "172.17.0.1/16")))
    (found,) = trust.findings(chosen, place)
    assert found.severity == "warning" and "172.17.0.1, this machine's address on the bridge docker0" in found.what


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        ("172.17.0.0/16", True),
        ("172.16.0.0/12", True),
        ("10.88.0.0/16", True),
        ("10.0.0.0/8", False),
        ("172.20.0.0/16", False),
        ("!172.17.0.1 172.17.0.0/16", False),
    ],
)
def test_the_usual_network_of_containers_is_noted_where_nothing_else_tells(networks: str, told: bool) -> None:
    found = said(f"mynetworks = 127.0.0.0/8 {networks}\n")
    assert [severity for severity, _, _ in found] == (["note"] if told else [])


@pytest.mark.parametrize("name", ["br-lan", "br0", "virbr0", "eth0"])
def test_a_bridge_of_the_office_is_none_for_containers(tmp_path: Path, name: str) -> None:
    place = root(tmp_path, BRIDGE.replace("docker0", name).replace("000011AC", "0001A8C0"), container=False)
    chosen = settings("mynetworks = 127.0.0.0/8 192.168.1.0/24\n", LISTENER)
    chosen = replace(chosen, system=System("mx.example.com", ("127.0.0.1/8", "192.168.1.1/24")))
    assert list(trust.findings(chosen, place)) == []
