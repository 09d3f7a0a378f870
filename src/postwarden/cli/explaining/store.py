"""Where `explain` gets what was decided: the files of the store, or the courier for a user who can't read them."""

import os
import re
import time
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from postwarden.cli.reach import connect
from postwarden.config.settings import Settings
from postwarden.ipc.queue_client import Bad, Denied, Down
from postwarden.ipc.queue_records import AskHistory, AskRefused
from postwarden.spool.layout import spool_directory
from postwarden.trace.files import directory
from postwarden.trace.records import Judged, Record
from postwarden.trace.search import Search, Wanted, refused

_SINCE = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Unavailable(Exception):
    """What was decided can't be read; the text says why."""


class Store(Protocol):
    def about(self, name: str) -> Iterator[Record]:
        """All that `trace.search.told` needs for that name. Raises Unavailable."""

    def refused(self, wanted: Wanted) -> Iterator[Judged]:
        """Raises Unavailable."""


def open_store(settings: Settings) -> Store:
    """The files are for root and mail_owner."""
    path = store_directory(settings)
    try:
        os.stat(path)
    except PermissionError:
        return _Courier(settings, path)
    except OSError:
        return _Files(path)
    return _Files(path) if os.access(path, os.R_OK) else _Courier(settings, path)


def store_directory(settings: Settings) -> str:
    return directory(spool_directory(settings.text("queue_directory")))


def since(text: str) -> float:
    """`2h`: the time of two hours ago; empty: the beginning. Raises ValueError."""
    if not text:
        return 0.0
    match = _SINCE.fullmatch(text)
    if match is None:
        raise ValueError(f"--since {text}: a number with s, m, h, d or w is wanted")
    return time.time() - int(match[1]) * _UNITS[match[2]]


class _Files:
    def __init__(self, path: str) -> None:
        self._path = path

    def about(self, name: str) -> Iterator[Record]:
        search = Search(name)
        try:
            search.first_pass(self._path)
            for record, _, _ in search.second_pass(self._path):
                yield record
        except OSError as error:
            raise Unavailable(str(error)) from None

    def refused(self, wanted: Wanted) -> Iterator[Judged]:
        try:
            for record, _, _ in refused(self._path, wanted):
                yield record
        except OSError as error:
            raise Unavailable(str(error)) from None


class _Courier:
    def __init__(self, settings: Settings, path: str) -> None:
        self._settings, self._path = settings, path
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Record)

    def about(self, name: str) -> Iterator[Record]:
        return self._asked(AskHistory(name))

    def refused(self, wanted: Wanted) -> Iterator[Judged]:
        question = AskRefused(wanted.client, wanted.sender, wanted.recipient, wanted.since)
        for record in self._asked(question):
            if isinstance(record, Judged):
                yield record

    def _asked(self, question: AskHistory | AskRefused) -> Iterator[Record]:
        try:
            with connect(self._settings) as courier:
                for data in courier.decisions(question):
                    yield self._decoder.decode(data)
        except (Down, PermissionError) as error:
            raise Unavailable(
                f"{self._path} is not readable for you, and the mail system, which would look for you, is down: {error}"
            ) from None
        except (Denied, Bad) as error:
            raise Unavailable(str(error)) from None
