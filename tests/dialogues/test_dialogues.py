"""Each dialogue against the machine: in one packet, byte by byte, with slow tables, and over a real socket with real
TLS."""

import pytest
from tests.dialogues.memory import play_in_memory
from tests.dialogues.script import Script, scripts
from tests.dialogues.sockets import play_over_sockets

from postwarden.tables.remote.waiting import Waiting
from postwarden.testing.asking import wrap_all
from postwarden.testing.certificate import write_certificate

SCRIPTS = scripts()
IN_TABLES = {
    "relay_domains": "inline:{relay.example=x}",
    "mynetworks": "cidr:{{127.0.0.0/8 x}}",
    "mydestination": "inline:{mx.example.com=x, localhost.example.com=x, localhost=x}",
    "smtpd_client_event_limit_exceptions": "$mynetworks",
    "smtpd_forbid_bare_newline_exclusions": "inline:{none=x}",
    "smtpd_noop_commands": "inline:{NONE=x}",
    "smtpd_forbidden_commands": "inline:{CONNECT=x, GET=x, POST=x}",
    "virtual_alias_maps": "inline:{nobody@nowhere=x}",
    "canonical_maps": "regexp:{{/^nobody@nowhere/ x}}",
    "transport_maps": "inline:{nowhere=x}",
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "mx.pem"
    write_certificate(path, "mx.example.com")
    return str(path)


def names(script: Script) -> str:
    return script.name


@pytest.mark.parametrize("script", SCRIPTS, ids=names)
def test_whole(script: Script, certificate: str) -> None:
    play_in_memory(script, certificate, chunk=0)


@pytest.mark.parametrize("script", [s for s in SCRIPTS if "byte by byte" not in s.without], ids=names)
def test_byte_by_byte(script: Script, certificate: str) -> None:
    play_in_memory(script, certificate, chunk=1)


@pytest.mark.parametrize("script", SCRIPTS, ids=names)
def test_with_tables_that_have_to_be_waited_for(
    script: Script, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Waiting, "wrap", wrap_all)
    reception = play_in_memory(script, certificate, chunk=0, more=IN_TABLES)
    assert reception.asking.asked


@pytest.mark.parametrize(
    "script",
    [s for s in SCRIPTS if s.address.startswith("127.") and not any(kind == "wait" for _, kind, _ in s.steps)],
    ids=names,
)
def test_over_a_socket(script: Script, certificate: str) -> None:
    play_over_sockets(script, certificate)
