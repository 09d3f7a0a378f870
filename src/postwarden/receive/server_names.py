"""Certificates by the name that a client asks for (SNI, RFC 6066 3): tls_server_sni_maps."""

import base64
import binascii
from collections.abc import Callable, Iterator

from postwarden.mail.decision import Pending
from postwarden.net.waiting import Waiting
from postwarden.tables.maps import Maps
from postwarden.tables.table import TableError

_LIMIT = 1 << 20
_PEM = b"-----BEGIN "


class ServerNames:
    """A name -> keys with their chains, as PEM; None: the service's own certificate will do. It is asked in the midst
    of a handshake and can't wait: a table that has to be asked has its answer for the client's next attempt."""

    def __init__(self, maps: Maps, waiting: Waiting, warn: Callable[[str], None]) -> None:
        self._maps, self._waiting, self._warn = maps, waiting, warn

    def __call__(self, name: str) -> bytes | None:
        try:
            found = self._maps.find_first(_keys(name.lower()))
        except Pending as pending:
            self._waiting.wait(pending.fetch, lambda error: None)
            return None
        except TableError as error:
            self._warn(f"TLS certificate of {name}: {error}")
            return None
        if found is None:
            return None
        pem = _decoded(found.value)
        if pem is None:
            try:
                pem = b"".join(_read(path) for path in found.value.replace(",", " ").split())
            except OSError as error:
                self._warn(f"TLS certificate of {name}: {found.table}: {error.filename}: {error.strerror}")
                return None
        return pem


def _keys(name: str) -> Iterator[str]:
    """The name, then its parents with a leading dot."""
    yield name
    rest = name
    while (dot := rest.find(".", 1)) >= 0:
        rest = rest[dot:]
        yield rest


def _decoded(value: str) -> bytes | None:
    """What `postmap -F` made of files; None: the files are named."""
    try:
        found = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if _PEM in found else None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_LIMIT) + b"\n"
