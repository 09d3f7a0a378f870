"""OpenLDAP's client library: one connection, one search at a time."""

import ctypes
from collections.abc import Iterable
from functools import cache
from typing import Any

from msgspec import Struct

from postwarden.tables.remote.library import encoded, load
from postwarden.tables.remote.servers import ServerError

# The threaded one: before 2.5 it had a name of its own.
_NAMES = ("libldap-2.5.so.0", "libldap.so.2", "libldap_r-2.4.so.2")
_PACKAGE = "libldap-2.5-0, or the libldap of your version"

SCOPES = ("base", "one", "sub")
"""As the protocol numbers them."""

_DEREFERENCE, _REFERRALS, _VERSION, _DIAGNOSTIC, _DEBUG = 0x02, 0x08, 0x11, 0x32, 0x5001
_TIMEOUT, _NETWORK_TIMEOUT = 0x5002, 0x5005
_CA_FILE, _CA_PATH, _CERTIFICATE, _KEY, _REQUIRE, _CIPHERS, _RANDOM = (
    0x6002,
    0x6003,
    0x6004,
    0x6005,
    0x6006,
    0x6008,
    0x6009,
)
_NEW_CONTEXT, _SECURITY = 0x600F, 0x6106
_NEVER, _DEMAND = 0, 2
_SUCCESS, _NO_SUCH_OBJECT, _CLIENT_TIMEOUT = 0, 32, -5
_SASL_QUIET = 2
_USER, _NAME, _PASSWORD, _REALM = 0x4001, 0x4002, 0x4004, 0x4008

_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int


class _Berval(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ulong), ("value", _POINTER)]


class _Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("microseconds", ctypes.c_long)]


class _Question(ctypes.Structure):
    """sasl_interact_t."""

    _fields_ = [
        ("id", ctypes.c_ulong), ("challenge", _TEXT), ("prompt", _TEXT), ("default", _TEXT), ("result", _POINTER),
        ("size", ctypes.c_uint),
    ]  # fmt: skip


_INTERACT = ctypes.CFUNCTYPE(_INT, _POINTER, ctypes.c_uint, _POINTER, ctypes.POINTER(_Question))

Entry = list[tuple[str, list[bytes]]]
"""Attributes with their values, in the server's order."""


class Access(Struct, frozen=True, kw_only=True):
    """What a table says about how to connect. An empty text is not told to the library."""

    bind: str = "simple"
    """`none`, `simple`, `sasl`."""
    name: str = ""
    password: str = ""
    mechanisms: str = ""
    realm: str = ""
    as_user: str = ""
    """The authorization identity of SASL."""
    least_strength: int = 0
    version: int = 3
    seconds: int = 10
    dereference: int = 0
    referrals: bool = False
    debug: int = 0
    start_tls: bool = False
    ca_file: str = ""
    ca_path: str = ""
    certificate: str = ""
    key: str = ""
    ciphers: str = ""
    random_file: str = ""
    verify: bool = False


class LdapClient:
    """`search` raises ServerError."""

    def __init__(self, access: Access, url: str) -> None:
        """Connects and binds. Raises ServerError."""
        self._library = library()
        self._time = _Time(access.seconds, 0)
        handle = _POINTER()
        self._check("initialize", self._library.ldap_initialize(ctypes.byref(handle), encoded(url)))
        self._handle: int | None = handle.value
        try:
            self._set_options(access)
            if access.start_tls or url.lower().startswith("ldaps:"):
                self._set_tls(access)
            if access.start_tls:
                self._check("start_tls", self._library.ldap_start_tls_s(self._handle, None, None))
            self._bind(access)
        except BaseException:
            self.close()
            raise

    def search(self, base: str, scope: str, wanted: str, attributes: Iterable[str], limit: int) -> list[Entry] | None:
        """Entries below `base` for the filter `wanted`; None where there is no such base. `limit`: of entries, 0:
        none."""
        names = [encoded(name) for name in attributes]
        array = (_TEXT * (len(names) + 1))(*names, None)
        result = _POINTER()
        code = self._library.ldap_search_ext_s(
            self._handle, encoded(base), SCOPES.index(scope), encoded(wanted), array, 0, None, None,
            ctypes.byref(self._time), limit, ctypes.byref(result),
        )  # fmt: skip
        try:
            if code == _NO_SUCH_OBJECT:
                return None
            self._check("search", code)
            return [self._read(entry) for entry in self._entries(result)]
        finally:
            if result.value:
                self._library.ldap_msgfree(result)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle:
            self._library.ldap_unbind_ext_s(handle, None, None)

    def _set_options(self, access: Access) -> None:
        for option, number in ((_VERSION, access.version), (_DEREFERENCE, access.dereference)):
            self._set(option, ctypes.byref(_INT(number)))
        if access.debug:
            self._set(_DEBUG, ctypes.byref(_INT(access.debug)))
        self._set(_TIMEOUT, ctypes.byref(self._time))
        self._set(_NETWORK_TIMEOUT, ctypes.byref(self._time))
        self._set(_REFERRALS, _POINTER(1) if access.referrals else None)

    def _set_tls(self, access: Access) -> None:
        for option, text in (
            (_CA_FILE, access.ca_file), (_CA_PATH, access.ca_path), (_CERTIFICATE, access.certificate),
            (_KEY, access.key), (_CIPHERS, access.ciphers), (_RANDOM, access.random_file),
        ):  # fmt: skip
            if text:
                self._set(option, ctypes.c_char_p(encoded(text)))
        self._set(_REQUIRE, ctypes.byref(_INT(_DEMAND if access.verify else _NEVER)))
        self._set(
            _NEW_CONTEXT, ctypes.byref(_INT(0)), "the TLS settings can't be used: a file of theirs may be missing"
        )

    def _set(self, option: int, value: Any, said: str = "") -> None:
        if self._library.ldap_set_option(self._handle, option, value):
            raise ServerError(said or f"the library refuses option {option:#x}")

    def _bind(self, access: Access) -> None:
        if access.bind == "simple":
            password = encoded(access.password)
            secret = _Berval(len(password), ctypes.cast(ctypes.c_char_p(password), _POINTER))
            code = self._library.ldap_sasl_bind_s(
                self._handle, encoded(access.name), None, ctypes.byref(secret), None, None, None
            )
            self._check("bind", code)
        elif access.bind == "sasl":
            if access.least_strength:
                self._set(_SECURITY, ctypes.c_char_p(f"minssf={access.least_strength}".encode()))
            answers = _answers(access)
            code = self._library.ldap_sasl_interactive_bind_s(
                self._handle, None, encoded(access.mechanisms) or None, None, None, _SASL_QUIET,
                _INTERACT(lambda handle, flags, defaults, questions: _answer(questions, answers)), None,
            )  # fmt: skip
            self._check("SASL bind", code)

    def _entries(self, result: Any) -> Iterable[int]:
        entry = self._library.ldap_first_entry(self._handle, result)
        while entry:
            yield entry
            entry = self._library.ldap_next_entry(self._handle, entry)

    def _read(self, entry: int) -> Entry:
        place, found = _POINTER(), []
        name = self._library.ldap_first_attribute(self._handle, entry, ctypes.byref(place))
        while name:
            found.append((ctypes.string_at(name).decode(errors="replace"), self._values(entry, name)))
            self._library.ldap_memfree(name)
            name = self._library.ldap_next_attribute(self._handle, entry, place)
        if place.value:
            self._library.ber_free(place, 0)
        return found

    def _values(self, entry: int, name: int) -> list[bytes]:
        array = self._library.ldap_get_values_len(self._handle, entry, name)
        if not array:
            return []
        count = self._library.ldap_count_values_len(array)
        values = [ctypes.string_at(array[at].contents.value, array[at].contents.size) for at in range(count)]
        self._library.ldap_value_free_len(array)
        return values

    def _check(self, what: str, code: int) -> None:
        if code != _SUCCESS:
            text = self._library.ldap_err2string(code).decode(errors="replace")
            raise ServerError(f"{what}: {text}{self._diagnostic()}", late=code == _CLIENT_TIMEOUT)

    def _diagnostic(self) -> str:
        more = _POINTER()
        if not getattr(self, "_handle", None):
            return ""
        self._library.ldap_get_option(self._handle, _DIAGNOSTIC, ctypes.byref(more))
        if not more.value:
            return ""
        text = ctypes.string_at(more.value).decode(errors="replace")
        self._library.ldap_memfree(more)
        return f" ({text})" if text else ""


def _answers(access: Access) -> dict[int, bytes]:
    return {
        _REALM: encoded(access.realm), _NAME: encoded(access.name), _PASSWORD: encoded(access.password),
        _USER: encoded(access.as_user),
    }  # fmt: skip


def _answer(questions: Any, answers: dict[int, bytes]) -> int:
    """Fill in what the mechanism asks for. `answers` has to live until the login is done."""
    at = 0
    while questions[at].id:
        question = questions[at]
        text = answers.get(question.id) or question.default or b""
        answers[-at - 1] = text
        question.result = ctypes.cast(ctypes.c_char_p(text), _POINTER)
        question.size = len(text)
        at += 1
    return _SUCCESS


@cache
def library() -> Any:
    """Raises LibraryMissing."""
    values = ctypes.POINTER(ctypes.POINTER(_Berval))
    return load(_NAMES, _PACKAGE, {
        "ldap_initialize": (_INT, [_POINTER, _TEXT]),
        "ldap_set_option": (_INT, [_POINTER, _INT, _POINTER]),
        "ldap_get_option": (_INT, [_POINTER, _INT, _POINTER]),
        "ldap_start_tls_s": (_INT, [_POINTER] * 3),
        "ldap_sasl_bind_s": (_INT, [_POINTER, _TEXT, _TEXT] + [_POINTER] * 4),
        "ldap_sasl_interactive_bind_s": (
            _INT, [_POINTER, _TEXT, _TEXT, _POINTER, _POINTER, ctypes.c_uint, _INTERACT, _POINTER],
        ),
        "ldap_search_ext_s": (
            _INT, [_POINTER, _TEXT, _INT, _TEXT, _POINTER, _INT, _POINTER, _POINTER, _POINTER, _INT, _POINTER],
        ),
        "ldap_first_entry": (_POINTER, [_POINTER, _POINTER]),
        "ldap_next_entry": (_POINTER, [_POINTER, _POINTER]),
        "ldap_first_attribute": (_POINTER, [_POINTER] * 3),
        "ldap_next_attribute": (_POINTER, [_POINTER] * 3),
        "ldap_get_values_len": (values, [_POINTER] * 3),
        "ldap_count_values_len": (_INT, [values]),
        "ldap_value_free_len": (None, [values]),
        "ldap_memfree": (None, [_POINTER]),
        "ldap_msgfree": (_INT, [_POINTER]),
        "ldap_err2string": (_TEXT, [_INT]),
        "ldap_unbind_ext_s": (_INT, [_POINTER] * 3),
        "ber_free": (None, [_POINTER, _INT]),
    })  # fmt: skip
