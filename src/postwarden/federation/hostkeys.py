"""Public keys of SSH servers as they are pinned: `type base64` (RFC 4253 6.6)."""

import base64
import binascii
import hashlib

from msgspec import Struct

TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
         "sk-ssh-ed25519@openssh.com")  # fmt: skip


class HostKey(Struct, frozen=True):
    type: str
    data: str
    """base64, as in a known_hosts file."""

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen -l shows it."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def host_keys(text: str) -> tuple[HostKey, ...]:
    """Keys parted by commas; a comment behind a key is dropped. Raises ValueError."""
    keys = tuple(_key(part.split()) for part in text.split(",") if part.strip())
    if not keys:
        raise ValueError(
            "without a host key nobody knows who answers: take it from the host itself (ssh-keyscan shows it)"
        )
    return keys


def _key(words: list[str]) -> HostKey:
    if len(words) < 2 or words[0] not in TYPES:
        raise ValueError(f"expecting a key type ({', '.join(TYPES[:2])}, ...) and its base64 text")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the {words[0]} key is no base64 text") from error
    name = words[0].encode()
    # The blob says its type itself: what was cut off or exchanged is found here, not by a refused connection.
    if blob[:4] != len(name).to_bytes(4, "big") or blob[4 : 4 + len(name)] != name or len(blob) < len(name) + 36:
        raise ValueError(f"the text behind {words[0]} is no such key")
    return HostKey(words[0], words[1])
