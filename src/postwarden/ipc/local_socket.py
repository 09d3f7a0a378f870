"""Unix sockets of this machine: reaching one by its path, and who is at the other end."""

import os
import pwd
import socket
import struct

_LONGEST = 107
"""Bytes of a path that fit into an address."""
_CREDENTIALS = struct.Struct("iII")


def connect(sock: socket.socket, path: str) -> None:
    """Raises OSError."""
    if len(os.fsencode(path)) <= _LONGEST:
        sock.connect(path)
        return
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)


def peer_uid(connection: socket.socket) -> int:
    """Whose process is at the other end: the effective user when it connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid


def login_name(uid: int) -> str:
    """Empty for a uid that the password file does not have."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return ""
