"""Files of owners, and the sources file, with anything in them."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.addressing.aliases import Kind
from postwarden.config.errors import ConfigError
from postwarden.config.settings import load
from postwarden.explain.gateway import Gateway
from postwarden.explain.lint import read
from postwarden.federation.entries import Unfit, read_entries
from postwarden.federation.installing import texts
from postwarden.federation.merging import merge
from postwarden.federation.sources import Federation, Push, Source, load_federation
from postwarden.mail.decision import BUILT_IN
from postwarden.tables.entries import alias_entries
from postwarden.testing.config import settings as made

PIECES = st.sampled_from([
    b"sales", b"sales-x", b"root", b"a", b": ", b":", b"\n", b" ", b"\t", b",", b"@", b"sales.example", b"evil.example",
    b"|/bin/sh", b'"', b"\\", b"(", b")", b"<", b">", b";", b":include:", b"/etc/passwd", b"%", b"!", b"[", b"]", b"#",
    b"\r", b"\0", b"\xff", b"\xc3\xa9", b"owner-", b"..", b"@evil.example:", b"\x0b", b"x@sales.example",
])  # fmt: skip
DATA = st.lists(PIECES, max_size=40).map(b"".join)
FINE = settings(deadline=None, max_examples=rounds(300), suppress_health_check=list(HealthCheck))
SOURCE = Source(
    "sales", Push("/f"), ("sales", "sales-*"), (), ("sales.example",), (), (), (), 100, 20, "", BUILT_IN
)  # fmt: skip
FEDERATION = Federation("/f", (SOURCE,), "hash:/m", "", "/d", 300, (), 100, 1 << 20, 60)
GATEWAY = Gateway(made(alias_maps="", mydestination="example.com", allow_percent_hack="yes"), account={"a": 1001}.get)


@given(DATA)
@FINE
def test_no_file_gets_more_than_its_owner_may(data: bytes) -> None:
    """Whatever is in it, what is installed reads as names and targets that were granted."""
    try:
        entries = read_entries(b"sales: a\n" + data + b"\n", "f", "sales")
    except Unfit as error:
        assert str(error)
        return
    merged = merge(FEDERATION, {"sales": entries}, GATEWAY, {})
    text = texts(FEDERATION, merged.entries).aliases
    said: list[str] = []
    lines = list(alias_entries(text, "m", said.append, True))
    assert not said and len(lines) == len(merged.entries)
    again = read_entries(text, "m", "sales")
    assert [entry.name for entry in again] == sorted(merged.entries)
    for entry in again:
        assert entry.name.removeprefix("owner-").startswith("sales")
        assert entry.targets == merged.entries[entry.name].targets
        for target in entry.targets:
            assert target.kind is Kind.ADDRESS
            domain = GATEWAY.resolve(target.value).recipient.rpartition("@")[2].lower()
            assert domain in ("sales.example", "example.com", "mx.example.com", "[192.0.2.1]", "[127.0.0.1]")


@given(st.lists(st.sampled_from([
    b"sources", b"a.", b"pull", b"push", b"names", b" = ", b"\n", b"a", b"/x", b"sftp://u@h/p", b"{", b"}", b"$",
    b"\xff", b"${a?b", b"interval", b"5", b"-1", b"host_key", b"ssh-ed25519 AAAA", b",", b"table", b"hash:", b"#", b" ",
]), max_size=30).map(b"".join))  # fmt: skip
@FINE
def test_any_sources_file(tmp_path_factory: object, data: bytes) -> None:
    base = Path(tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
    (base / "alias-sources.cf").write_bytes(data)
    (base / "alias-sources.cf").chmod(0o644)
    try:
        load_federation(load(base))
    except ConfigError as error:
        assert "alias-sources.cf" in str(error)


@given(st.one_of(DATA, st.binary(max_size=200)))
@FINE
def test_lint_reads_any_file(tmp_path_factory: object, data: bytes) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "aliases"  # type: ignore[attr-defined]
    path.write_bytes(data)
    entries, values, _ = read(str(path))
    assert entries.keys() == values.keys()
