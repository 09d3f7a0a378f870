"""The addresses of this machine, asked of the kernel (rtnetlink(7)): the standard library has no getifaddrs."""

import ipaddress
import socket
import struct

_REQUEST = struct.Struct("=IHHIIBBBBi")
_MESSAGE = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBi")
_ATTRIBUTE = struct.Struct("=HH")
_GETADDR, _NEWADDR, _DONE, _ERROR = 22, 20, 3, 2
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


def interfaces() -> tuple[str, ...]:
    """`address/prefix length` of every address, in the kernel's order. Empty where the kernel will not say."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
            kernel.settimeout(2)
            kernel.send(_REQUEST.pack(_REQUEST.size, _GETADDR, _DUMP, 1, 0, 0, 0, 0, 0, 0))
            return tuple(_answers(kernel))
    except OSError:
        return ()


def _answers(kernel: socket.socket) -> list[str]:
    found: list[str] = []
    while True:
        data = kernel.recv(1 << 16)
        at = 0
        while at + _MESSAGE.size <= len(data):
            length, kind, _, _, _ = _MESSAGE.unpack_from(data, at)
            if kind in (_DONE, _ERROR) or length < _MESSAGE.size:
                return found
            if kind == _NEWADDR:
                found += _address(data[at + _MESSAGE.size : at + length])
            at += (length + 3) & ~3
        if not data:
            return found


def _address(message: bytes) -> list[str]:
    _, prefix, _, _, _ = _ADDRESS.unpack_from(message)
    attributes: dict[int, bytes] = {}
    at = _ADDRESS.size
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            break
        attributes[kind] = message[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    # On a point-to-point link IFA_ADDRESS is the other end's.
    packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS) or b""
    return [f"{ipaddress.ip_address(packed)}/{prefix}"] if len(packed) in (4, 16) else []
