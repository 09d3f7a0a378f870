"""mysql:, pgsql: and ldap: with anything in their definitions, keys and directories."""

import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.config.errors import ConfigError
from postwarden.tables.opening import open_table
from postwarden.tables.remote.ldap import in_filter, in_name
from postwarden.tables.remote.ldap_expansion import Attributes, Entry, Limits, Search, Unusable, expanded, reference
from postwarden.tables.table import TableError

QUICK = settings(deadline=None, max_examples=rounds(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
NOBODY = {
    "mysql": "hosts = unix:/nonexistent",
    "pgsql": "hosts = unix:/nonexistent",
    "ldap": "server_host = ldapi://%2Fn",
}
NAMES = [
    "user", "password", "dbname", "query", "result_format", "domain", "expansion_limit", "option_file", "option_group",
    "tls_CAfile", "tls_verify_cert", "require_result_set", "select_function", "charset", "encoding", "retry_interval",
    "search_base", "query_filter", "result_attribute", "special_result_attribute", "scope", "bind", "bind_dn",
    "bind_pw", "version", "timeout", "start_tls", "dereference", "sasl_mechs", "tls_ca_cert_file", "size_limit",
    "recursion_limit",
]  # fmt: skip
BEGIN = b"dbname = d\nuser = u\nquery = select '%s'\nsearch_base = dc=x\n"
VALUES = st.one_of(
    st.sampled_from([
        b"", b"yes", b"no", b"0", b"-1", b"99999999999999999999", b"1", b"%s", b"%q", b"select '%s'", b"sasl", b"\xff",
        b"\0", b"x" * 5000, b"sub", b"{", b"}", b"dc=%1", b"(a=%u)", b"\xc3\xa9",
    ]),
    st.binary(max_size=12),
)  # fmt: skip
LINES = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8)
KEYS = st.one_of(st.sampled_from(["a", "a@b.c", "", "\udcff", "a\0b", "É", "x" * 2000]), st.text())


@given(st.sampled_from(sorted(NOBODY)), LINES, KEYS)
@QUICK
def test_any_definition(tmp_path: Path, kind: str, lines: list[tuple[str, bytes]], key: str) -> None:
    body = b"".join(name.encode() + b" = " + value + b"\n" for name, value in lines)
    # The servers last: nothing above may name others.
    (tmp_path / "t.cf").write_bytes(BEGIN + body + NOBODY[kind].encode() + b"\n")
    try:
        open_table(f"{kind}:./t.cf", str(tmp_path)).get(key)
    except (ConfigError, TableError) as error:
        assert str(error)


@given(st.text())
@QUICK
def test_a_quoted_key_is_one_value(text: str) -> None:
    """RFC 4515 3 and RFC 4514 2.4: nothing that means something is left, and the text comes back."""
    for quoted, special in ((in_filter(text), "*()\0"), (in_name(text), ',+"<>;=#\0 ')):
        assert not set(quoted) & set(special)
        assert re.sub(r"\\([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), quoted) == text


PARTS = st.sampled_from([
    b"ldap", b"ldaps", b"://", b"/", b"?", b"%", b"%41", b"%00", b"cn=a", b",", b"mail", b"ref", b"sub", b"one",
    b"(", b")", b"<", b">", b"URL:", b"\xff", b"\0", b"\xc3\xa9", b" ",
])  # fmt: skip
REFERENCES = st.one_of(st.lists(PARTS, max_size=12).map(b"".join), st.binary(max_size=20))
ENTRIES = st.lists(
    st.tuples(st.sampled_from(["mail", "MAIL;x", "ref", "last", "leaf", "other"]), st.lists(REFERENCES, max_size=3)),
    max_size=5,
)
ATTRIBUTES = Attributes(("mail",), ("ref",), ("leaf",), ("last",))


@given(REFERENCES)
@settings(QUICK, max_examples=rounds(400))
def test_any_reference(value: bytes) -> None:
    try:
        found = reference(value, ATTRIBUTES)
    except Unusable:
        return
    if found is not None:
        assert found.attributes
        assert "\0" not in found.base + found.wanted + "".join(found.attributes)


@given(st.lists(st.one_of(st.none(), st.lists(ENTRIES, max_size=2)), min_size=1, max_size=6))
@QUICK
def test_any_directory(answers: list[list[Entry] | None]) -> None:
    """It ends, whatever refers to what."""

    class Directory:
        def __init__(self) -> None:
            self.asked = 0

        def search(
            self, base: str, scope: str, wanted: str, attributes: tuple[str, ...], limit: int
        ) -> list[Entry] | None:
            self.asked += 1
            return answers[self.asked % len(answers)]

    directory = Directory()
    first = Search("dc=x", "sub", "(a=b)", ATTRIBUTES.all)
    try:
        for value in expanded(directory, first, ATTRIBUTES, Limits(depth=30, searches=60)):
            assert isinstance(value, bytes)
    except Unusable:
        pass
    assert directory.asked <= 60
