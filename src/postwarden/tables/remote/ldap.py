"""ldap: tables, ldap_table(5)."""

from postwarden.config.errors import ConfigError, Problem
from postwarden.tables.definition import Definition
from postwarden.tables.remote import libldap
from postwarden.tables.remote.defined import DefinedTable, Source
from postwarden.tables.remote.ldap_expansion import Attributes, Limits, Search, Unusable, expanded
from postwarden.tables.remote.servers import Host, Servers
from postwarden.tables.table import TableError
from postwarden.tables.template import Templates, over_limit

_FILTER_SPECIAL = "*()\\\0"
"""RFC 4515 3."""
_NAME_SPECIAL = ' \t"#+,;<>=\\\0'
"""RFC 4514 2.4."""
_GONE = ("cache", "cache_expiry", "cache_size")


class _Source(Source[libldap.LdapClient], frozen=True, kw_only=True):
    """`templates` make the filter."""

    base: Templates
    fixed_base: bool
    scope: str
    attributes: Attributes
    limits: Limits


class LdapTable(DefinedTable[libldap.LdapClient]):
    """The values of the result attributes of all entries that the filter finds."""

    def _source_of(self, definition: Definition) -> Source[libldap.LdapClient]:
        form = definition.text("result_format") or definition.text("result_filter", "%s", needed=True)
        wanted = definition.text("query_filter", "mailacceptinggeneralid=%s", needed=True)
        limit = over_limit(definition)
        limits = Limits(definition.number("recursion_limit", 1000, 1), definition.number("size_limit", limit))
        base = definition.text("search_base")
        hosts = [Host(url, url) for url in servers(definition)]
        warnings: list[Problem] = []
        scope, access = _scope(definition, warnings), access_of(definition, warnings)
        for name in filter(definition.holds, _GONE):
            told(warnings, definition, name, "has no effect: the library has no cache")
        if not _marked(wanted):
            told(warnings, definition, "query_filter", f"a filter that is the same for all keys: {wanted}")
        libldap.library()

        def connect(host: Host) -> libldap.LdapClient:
            return libldap.LdapClient(access, host.address)

        return _Source(
            templates=Templates(wanted, form, definition.where("query_filter")),
            limit=limit,
            servers=Servers(hosts, connect, ordered=True),
            origin=definition.first_of("query_filter", "search_base"),
            base=Templates(base, form, definition.where("search_base")),
            fixed_base=not _marked(base),
            scope=scope,
            attributes=attributes(definition),
            limits=limits,
            warnings=tuple(warnings),
        )

    def _ask(self, source: Source[libldap.LdapClient], name: str) -> list[str]:
        assert isinstance(source, _Source)
        wanted, base = source.templates.query(name, in_filter), source.base.query(name, in_name)
        if wanted is None or base is None:
            return []
        search = Search(base, source.scope, wanted, source.attributes.all, must_exist=source.fixed_base)

        def values(client: libldap.LdapClient) -> list[str]:
            found: list[str] = []
            try:
                for value in expanded(client, search, source.attributes, source.limits):
                    found += source.templates.answer(name, (self._text(value),))
                    self._over(source, name, len(found))
            except Unusable as error:
                raise TableError(self.name, f"{error} (key '{name}')") from error
            return found

        return source.servers.ask(values)


def in_filter(text: str) -> str:
    return "".join(f"\\{ord(char):02X}" if char in _FILTER_SPECIAL else char for char in text)


def in_name(text: str) -> str:
    return "".join(f"\\{ord(char):02X}" if char in _NAME_SPECIAL else char for char in text)


def attributes(definition: Definition) -> Attributes:
    """Raises ConfigError."""
    result = definition.items("result_attribute") if definition.holds("result_attribute") else ("maildrop",)
    special, leaf, terminal = (
        definition.items(f"{kind}_result_attribute") for kind in ("special", "leaf", "terminal")
    )  # fmt: skip
    return Attributes(result, special, leaf, terminal)


def servers(definition: Definition) -> list[str]:
    """The URLs, in the order in which they are tried. Raises ConfigError."""
    port = definition.number("server_port", 389, 1)
    start_tls = definition.flag("start_tls", False)
    urls = []
    for item in definition.items("server_host") or ("localhost",):
        scheme = item.partition("://")[0].lower() if "://" in item else ""
        if scheme and scheme not in ("ldap", "ldaps", "ldapi"):
            raise ConfigError(definition.where("server_host"), f"server_host: not a URL of LDAP: {item}")
        if start_tls and scheme not in ("", "ldap"):
            raise ConfigError(definition.where("start_tls"), f"start_tls: not with a {scheme} URL: {item}")
        if scheme:
            urls.append(scheme + item[len(scheme) :])
        else:
            urls.append(f"ldap://{item}" if ":" in item else f"ldap://{item}:{port}")
    return urls


def access_of(definition: Definition, warnings: list[Problem]) -> libldap.Access:
    """Raises ConfigError."""
    text, number, flag = definition.text, definition.number, definition.flag
    version, dereference = number("version", 3, 2), number("dereference", 0)
    bind, start_tls = _bind(definition), flag("start_tls", False)
    if version > 3:
        told(warnings, definition, "version", f"unknown version {version}: using 3")
    if dereference > 3:
        told(warnings, definition, "dereference", f"0 to 3, not {dereference}: using 0")
    plain = all(url.startswith("ldap:") for url in servers(definition))
    if version < 3 and (start_tls or not plain):
        told(warnings, definition, "version", "TLS and Unix sockets need version 3: using 3")
        version = 3
    return libldap.Access(
        bind=bind,
        name=text("bind_dn"),
        password=text("bind_pw"),
        mechanisms=text("sasl_mechs"),
        realm=text("sasl_realm"),
        as_user=text("sasl_authz_id"),
        least_strength=number("sasl_minssf", 0),
        version=min(version, 3),
        seconds=number("timeout", 10, 1),
        dereference=dereference if dereference <= 3 else 0,
        referrals=flag("chase_referrals", False),
        debug=number("debuglevel", 0),
        start_tls=start_tls,
        ca_file=text("tls_ca_cert_file"),
        ca_path=text("tls_ca_cert_dir"),
        certificate=text("tls_cert"),
        key=text("tls_key"),
        ciphers=text("tls_cipher_suite"),
        random_file=text("tls_random_file"),
        verify=flag("tls_require_cert", False),
    )


def told(warnings: list[Problem], definition: Definition, name: str, text: str) -> None:
    warnings.append(Problem(definition.where(name), "warning", f"{name}: {text}"))


def _bind(definition: Definition) -> str:
    value = definition.text("bind", "yes").lower()
    if value in ("none", "simple", "sasl"):
        return value
    return "simple" if definition.flag("bind", True) else "none"


def _scope(definition: Definition, warnings: list[Problem]) -> str:
    value = definition.text("scope", "sub").lower()
    if value in libldap.SCOPES:
        return value
    told(warnings, definition, "scope", f"one of {', '.join(libldap.SCOPES)}, not {value}: using sub")
    return "sub"


def _marked(template: str) -> bool:
    """Something of the key gets into it."""
    return "%" in template.replace("%%", "")
