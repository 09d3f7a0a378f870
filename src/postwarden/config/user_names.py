"""Names that an operator made up and uses: behind a `$`, restriction classes, `foo_…` for a table `ldap:foo`. What is
set and is neither one of them nor a parameter is most often a typing error."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from msgspec import Struct, field

from postwarden.config.errors import ConfigError
from postwarden.config.expand import ExpandError, expand, scan
from postwarden.config.parameters import PATTERNS, TABLE, Kind, find
from postwarden.config.written import Row, Written, read_main

_QUERY = "domain expansion_limit query result_format table select_field where_field additional_conditions"
_SQL = f"{_QUERY} dbname hosts user password"
_LATER = "idle_interval retry_interval"
_LISTS = {
    "ldap": (
        "bind bind_dn bind_pw cache cache_expiry cache_size chase_referrals debuglevel dereference domain "
        "expansion_limit leaf_result_attribute query_filter recursion_limit result_attribute result_filter "
        "result_format sasl_authz_id sasl_mechs sasl_minssf sasl_realm scope search_base server_host server_port "
        "size_limit special_result_attribute start_tls terminal_result_attribute timeout tls_ca_cert_dir "
        "tls_ca_cert_file tls_cert tls_cipher_suite tls_key tls_random_file tls_require_cert version"
    ),
    "mysql": (
        f"{_SQL} {_LATER} charset option_file option_group require_result_set tls_CAfile tls_CApath tls_cert_file "
        "tls_ciphers tls_key_file tls_verify_cert"
    ),
    "pgsql": f"{_SQL} {_LATER} encoding select_function",
    "sqlite": f"{_QUERY} dbpath",
    "memcache": (
        "backup data_size_limit domain flags key_format line_size_limit max_try memcache retry_pause timeout ttl"
    ),
}
CLIENT_NAMES: Mapping[str, frozenset[str]] = MappingProxyType(
    {kind: frozenset(names.split()) for kind, names in _LISTS.items()}
)
"""What a table of that type may be told, in a file of its own or as `name_…` in main.cf."""

TRANSPORT_COMMANDS = frozenset(("smtp", "lmtp", "local", "virtual", "pipe", "error"))
_TABLE = re.compile(rf"(?:proxy:)*({'|'.join(CLIENT_NAMES)}):(.+)")

Raw = Callable[[str], str | None]


class Names(Struct):
    """What the configuration refers to."""

    service: frozenset[str]
    """`relay_destination_recipient_limit`, and so on, of the entries of master.cf."""
    user: set[str] = field(default_factory=set)
    local: dict[str, set[str]] = field(default_factory=dict)
    """Names that hold in one entry of master.cf only, by its key."""
    warnings: list[str] = field(default_factory=list)

    def known(self, name: str) -> bool:
        return name in TABLE or name in self.service or name in self.user


def service_names(rows: Iterable[Row]) -> frozenset[str]:
    """The parameters that begin with the name of a transport."""
    found = set()
    for row in rows:
        timed = row.command in ("pipe", "spawn")
        for pattern in PATTERNS:
            if timed if pattern.name == "_time_limit" else row.command in TRANSPORT_COMMANDS:
                found.add(row.columns[0] + pattern.name)
    return frozenset(found)


class Finder:
    """Finds the names of one configuration. `raw` is the text of a parameter as main.cf or the table has it."""

    def __init__(self, written: Written, raw: Raw, directory: str) -> None:
        self._written = written
        self._raw = raw
        self._directory = directory
        self._scopes = {row.key: written.scope(row.key) for row in written.rows}
        texts = (parameter.default for parameter in TABLE.values() if parameter.kind is not Kind.RAW)
        self._of_defaults = {name for text in texts if "$" in text for name in scan(text)[0]}
        """Old names of parameters that still count."""
        self._files = set[tuple[str, str]]()
        self.names = Names(service_names(written.rows))

    def run(self) -> Names:
        """Raises ConfigError for a text that can't be expanded, or a table's file that can't be parsed."""
        self._namespace("main.cf", {name: entry.value for name, entry in self._written.entries.items()}, "")
        for row in self._written.rows:
            self._namespace("master.cf", self._scopes[row.key], row.key)
        return self.names

    def _namespace(self, file: str, values: Mapping[str, str], key: str) -> None:
        for name, value in values.items():
            found, error = scan(value) if not _raw_kind(name) else ([], None)
            if error is not None:
                self.names.warnings.append(str(error))
            self._refer(file, found, key)
        for name in self._of_defaults:
            self._enter(name, key)
        if "smtpd_restriction_classes" in values:
            text = self._expanded("smtpd_restriction_classes", values)
            self._refer(file, text.replace(",", " ").split(), key)
        for name, value in values.items():
            if (name in TABLE or name in self.names.service) and not _raw_kind(name) and value:
                self._tables(self._expanded(name, values), key)

    def _refer(self, file: str, names: Iterable[str], key: str) -> None:
        for name in names:
            if not self._enter(name, key) and name not in self._of_defaults:
                self.names.warnings.append(f"{os.path.join(self._directory, file)}: undefined parameter: {name}")

    def _enter(self, name: str, key: str) -> bool:
        """Take in a name that is set somewhere; whether it is. What main.cf refers to may be set by any `-o`."""
        found = name in TABLE or name in self.names.service
        for own, scope in self._scopes.items():
            if name in scope and key in ("", own):
                self.names.local.setdefault(own, set()).add(name)
                found = True
        if name in self._written.entries and not self.names.known(name) and (not key or not found):
            self.names.user.add(name)
        return found or name in self._written.entries

    def _expanded(self, name: str, values: Mapping[str, str]) -> str:
        def lookup(name: str) -> str | None:
            value = values.get(name)
            return self._raw(name) if value is None else value

        try:
            return expand(values[name], lookup)
        except ExpandError as error:
            self.names.warnings.append(str(error))
            raise ConfigError(self._written.origin(name), "macro processing error") from error

    def _tables(self, text: str, key: str) -> None:
        for word in re.split(r"[\s,{}]+", text):
            match = _TABLE.fullmatch(word)
            if match is None:
                continue
            kind, name = match[1], match[2]
            if name.startswith(("/", ".")):
                self._file(kind, name)
                continue
            for suffix in CLIENT_NAMES[kind]:
                self._enter(f"{name}_{suffix}", key)

    def _file(self, kind: str, name: str) -> None:
        if (kind, name) in self._files:
            return
        self._files.add((kind, name))
        try:
            with open(name, "rb") as stream:
                entries, warnings = read_main(stream.read(), name)
        except OSError as error:
            self.names.warnings.append(f'open "{kind}" configuration "{name}": {error.strerror}')
            return
        self.names.warnings += warnings
        for setting, entry in entries.items():
            if setting not in CLIENT_NAMES[kind]:
                self.names.warnings.append(f"{kind}:{name}: unused parameter: {setting}={entry.value}")


def _raw_kind(name: str) -> bool:
    parameter = find(name)
    return parameter is not None and parameter.kind is Kind.RAW


def unused(written: Written, names: Names, directory: str, *, main: bool, master: bool) -> list[str]:
    """A warning for each setting that nothing refers to."""
    found = []
    if main:
        file = os.path.join(directory, "main.cf")
        for name, entry in written.entries.items():
            if not names.known(name):
                found.append(f"{file}: unused parameter: {name}={entry.value}")
    if master:
        file = os.path.join(directory, "master.cf")
        for row in written.rows:
            local = names.local.get(row.key, ())
            for name, value in written.scope(row.key).items():
                if not names.known(name) and name not in local:
                    found.append(f"{file}: unused parameter: {name}={value}")
    return found
