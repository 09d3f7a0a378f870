"""The policy protocol (SMTPD_POLICY_README): `name=value` lines and an empty one, both ways, one after the other."""

from collections.abc import Iterable

MAX_REPLY = 16 << 10
"""Bytes. An action and its text are one line."""
_BREAKERS = str.maketrans("\r\n\0", "???")


class PolicyError(Exception):
    """The bytes are no reply."""


def encode_request(attributes: Iterable[tuple[str, str]]) -> bytes:
    """A value can't hold what ends it: a client must not add attributes of its own."""
    lines = (f"{name}={value.translate(_BREAKERS)}\n" for name, value in attributes)
    return f"{''.join(lines)}\n".encode("utf-8", "replace")


class ReplyReader:
    """Bytes of one reply, as they come."""

    def __init__(self) -> None:
        self._data = b""

    def receive(self, data: bytes) -> str | None:
        """The action, once it is complete. Raises PolicyError for what is no reply, and for bytes after its end."""
        self._data += data
        if len(self._data) > MAX_REPLY:
            raise PolicyError(f"response longer than {MAX_REPLY}")
        end = self._data.find(b"\n\n")
        if end < 0:
            if self._data.startswith(b"\n"):
                raise PolicyError("response without attributes")
            return None
        if end + 2 != len(self._data):
            raise PolicyError("data after the end of the response")
        return _action(self._data[:end])


def _action(data: bytes) -> str:
    """Other attributes than `action` are for other clients."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise PolicyError("malformed UTF-8 in response") from error
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        if equals and name == "action":
            return value
    raise PolicyError("missing attribute action")
