"""Sources that are fetched: what SFTP says, in the words of the merge."""

from typing import cast

from postwarden.federation.arrival import Missing, Unreachable
from postwarden.federation.sources import Pull
from postwarden.net import sftp


def fetch(sources: list[tuple[str, Pull]], limit: int, seconds: int) -> dict[str, bytes | Unreachable]:
    """`arrival.Fetch` with the system's OpenSSH client."""
    places = cast("list[tuple[str, sftp.Place]]", sources)
    return {name: _said(came) for name, came in sftp.fetch(places, limit, seconds).items()}


def _said(came: bytes | sftp.Failed) -> bytes | Unreachable:
    if isinstance(came, bytes):
        return came
    return Missing(str(came)) if isinstance(came, sftp.NoSuchFile) else Unreachable(str(came))
