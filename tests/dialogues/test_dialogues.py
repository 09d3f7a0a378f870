"""Each dialogue against the machine: in one packet, byte by byte, and over a real socket with real TLS."""

import pytest
from tests.dialogues.memory import play_in_memory
from tests.dialogues.script import Script, scripts
from tests.dialogues.sockets import play_over_sockets

from postwarden.testing.certificate import write_certificate

SCRIPTS = scripts()


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


@pytest.mark.parametrize(
    "script",
    [s for s in SCRIPTS if s.address.startswith("127.") and not any(kind == "wait" for _, kind, _ in s.steps)],
    ids=names,
)
def test_over_a_socket(script: Script, certificate: str) -> None:
    play_over_sockets(script, certificate)
