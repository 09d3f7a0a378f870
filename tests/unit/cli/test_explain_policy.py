"""Policy servers of a session that is only played: nobody asks them unless that is wanted."""

import asyncio
import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.test_explain import Asker

from postwarden.cli import explain
from postwarden.cli.explaining import session
from postwarden.net.clock import LoopClock
from postwarden.net.names import Names
from postwarden.testing.resolver import FakeResolver

WORDS = ("--client", "127.0.0.1", "--name", "pc.example", "--from", "a@b.example", "--to", "ann@here.example")


class Greylist:
    """A policy server on a Unix socket; `asked` are the requests."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                request = b""
                while line := stream.readline():
                    request += line
                    if line == b"\n":
                        self.asked.append(request.decode())
                        request = b""
                        stream.write(b"action=DEFER Greylisted\n\n")
                        stream.flush()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def greylist() -> Iterator[Greylist]:
    with tempfile.TemporaryDirectory(prefix="pw-grey-") as base:
        greylist = Greylist(f"{base}/socket")
        yield greylist
        greylist.close()


@pytest.fixture
def asker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, greylist: Greylist
) -> Asker:
    def names(loop: asyncio.AbstractEventLoop, *rest: object) -> Names:
        fake = FakeResolver("", LoopClock(loop))
        return Names(fake, fake)

    monkeypatch.setattr(session, "open_names", names)
    asker = Asker(tmp_path, capsys)
    asker.configure(
        "compatibility_level = 3.6\nmyhostname = mx.here.example\nmydestination = here.example\n"
        "local_recipient_maps =\nmynetworks =\nsmtpd_relay_restrictions = permit_auth_destination, reject\n"
        f"smtpd_recipient_restrictions = check_policy_service unix:{greylist.path}\n"
    )
    return asker


def played(asker: Asker, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = explain.main("explain", [str(asker.etc), *words, *WORDS])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("--offline",)])
def test_a_policy_server_is_not_asked(
    asker: Asker, capsys: pytest.CaptureFixture[str], greylist: Greylist, words: tuple[str, ...]
) -> None:
    code, said = played(asker, capsys, *words)
    assert code == 0
    first, second, *_ = said.splitlines()
    assert first.startswith("accepted: 250 2.1.5")
    assert f"unless policy server {greylist.path} objects: it was not asked" in second
    assert "not asked, and taken to say DUNNO" in said
    code, said = played(asker, capsys, "-j", *words)
    assert json.loads(said)["unasked"] == [greylist.path]
    assert greylist.asked == []


def test_a_policy_server_is_asked_where_that_is_wanted(
    asker: Asker, capsys: pytest.CaptureFixture[str], greylist: Greylist
) -> None:
    code, said = played(asker, capsys, "--ask-policy")
    assert code == 1
    assert said.startswith("RCPT TO:<ann@here.example> is refused: 450 4.7.1")
    assert "Greylisted" in said.splitlines()[0]
    assert f"policy server {greylist.path}: DEFER Greylisted" in said
    (request,) = greylist.asked
    assert "recipient=ann@here.example\n" in request


def test_nobody_and_somebody_can_not_be_asked(asker: Asker, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain.main("explain", [str(asker.etc), "--offline", "--ask-policy", *WORDS]) == 2
    assert "--offline asks nobody" in capsys.readouterr().err
