"""The one thing that we need of a certificate and that Python's ssl does not tell: its public key (RFC 5280 4.1)."""

_SEQUENCE, _VERSION = 0x30, 0xA0
_BEFORE_KEY = 5
"""Elements of a TBSCertificate between its version and its key: serial, algorithm, issuer, validity, subject."""


def public_key(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, as it is encoded; empty for what is no certificate."""
    try:
        start, end = _element(der, 0, _SEQUENCE)
        start, end = _element(der, start, _SEQUENCE)
        if der[start] == _VERSION:
            start = _end(der, start)
        for _ in range(_BEFORE_KEY):
            start = _end(der, start)
        _element(der, start, _SEQUENCE)
        key_end = _end(der, start)
    except (IndexError, ValueError):
        return b""
    return der[start:key_end] if key_end <= end else b""


def _element(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the content begins and ends. ValueError for another tag or a length beyond the end."""
    if der[at] != tag:
        raise ValueError(f"tag {der[at]:#x}")
    return _content(der, at)


def _end(der: bytes, at: int) -> int:
    return _content(der, at)[1]


def _content(der: bytes, at: int) -> tuple[int, int]:
    size = der[at + 1]
    start = at + 2
    if size & 0x80:
        count = size & 0x7F
        if not 0 < count <= 4:
            raise ValueError("length")
        size = int.from_bytes(der[start : start + count], "big")
        start += count
    if start + size > len(der):
        raise ValueError("beyond the end")
    return start, start + size
