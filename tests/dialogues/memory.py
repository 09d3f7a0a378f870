"""Plays a dialogue over a memory stream."""

import ssl
from collections.abc import Mapping
from types import MappingProxyType

from tests.dialogues.script import Script, fits, sent

from postwarden.testing.reception import ZONE, Reception
from postwarden.testing.spool import MemoryStore

COMMON = {
    "relay_domains": "relay.example",
    "mynetworks": "127.0.0.0/8",
    "smtpd_forbid_bare_newline_exclusions": "",
    "local_recipient_maps": "inline:{postmaster=x}",
    "smtpd_error_sleep_time": "0",
}


NOTHING_MORE: Mapping[str, str] = MappingProxyType({})


class Heard:
    """What the server said and has not been asked for."""

    def __init__(self) -> None:
        self.data = b""

    def line(self) -> str | None:
        if b"\r\n" not in self.data:
            return None
        line, _, self.data = self.data.partition(b"\r\n")
        return line.decode()


class Stored:
    """Walks through the lines of the messages that were stored."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._at = {"H:": 0, "M:": 0}

    def line(self, kind: str) -> str | None:
        lines: list[str] = []
        for _, head, body in self._store.messages:
            lines += (head if kind == "H:" else body).decode("latin-1").split("\r\n")[:-1]
        self._at[kind] += 1
        return lines[self._at[kind] - 1] if self._at[kind] <= len(lines) else None


def play_in_memory(script: Script, certificate: str, *, chunk: int, more: Mapping[str, str] | None = None) -> Reception:
    """`more`: parameters, where the script does not set them."""
    reception = Reception(zone=zone_of(script), **settings_of(script, certificate, more or {}))
    peer = reception.connect(script.address, chunk=chunk)
    heard, stored = Heard(), Stored(reception.store)
    waiting = b""
    for number, kind, text in script.steps:
        where = f"{script.name}.smtp:{number}"
        if kind in ("C:", "C!"):
            waiting += sent(kind, text)
            continue
        if waiting:
            peer.stream.write(waiting)
            waiting = b""
        reception.clock.run()
        heard.data += peer.recorder.take()
        match kind:
            case "S:":
                said = heard.line()
                assert said is not None and fits(text, said), f"{where}: {said!r}"
            case "H:" | "M:":
                line = stored.line(kind)
                assert line is not None and fits(text, line), f"{where}: {line!r}"
            case "tls":
                peer.stream.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), server_side=False)
                reception.clock.run()
            case "wait":
                reception.clock.advance(float(text))
            case "end":
                peer.stream.end()
            case "closed":
                assert peer.closed, where
    if waiting:
        peer.stream.write(waiting)
    reception.clock.run()
    assert heard.data + peer.recorder.take() == b"", f"{script.name}.smtp: the server says more"
    if script.log:
        if not peer.closed:
            peer.stream.close()
        reception.clock.run()
        compare_logs(script, reception.log)
    return reception


def settings_of(script: Script, certificate: str, more: Mapping[str, str] = NOTHING_MORE) -> dict[str, str]:
    given = {name: value.replace("{certificate}", certificate) for name, value in script.main_cf.items()}
    return COMMON | dict(more) | given


def zone_of(script: Script) -> str:
    return "\n".join([ZONE, *script.zone])


def compare_logs(script: Script, log: list[str]) -> None:
    for expected, actual in zip(script.log, log, strict=False):
        assert fits(expected, actual), f"{script.name}.smtp: logged {actual!r}, not {expected!r}"
    assert len(script.log) == len(log), f"{script.name}.smtp: {log[len(script.log) :] or script.log[len(log) :]}"
