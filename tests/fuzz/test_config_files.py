"""Whatever main.cf, master.cf and tables hold, the parsers answer with values or with ConfigError at a line."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from postwarden.config.check import problems
from postwarden.config.errors import ConfigError
from postwarden.config.expand import LIMIT, ExpandError, expand
from postwarden.config.lines import logical_lines
from postwarden.config.main_cf import parse_main_cf
from postwarden.config.master_cf import parse_master_cf
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.tables.cidr import cidr_rules, plan
from postwarden.tables.network import address_bits
from postwarden.tables.regexp import regexp_rules
from postwarden.tables.rules import run
from postwarden.tables.text import alias_lines, looks_like_aliases, map_lines
from postwarden.testing.config import SYSTEM

_PIECES = st.sampled_from(
    [
        b"\n", b" ", b"\t", b"=", b"{", b"}", b"$", b"$(", b"${", b":", b"?", b"#", b",", b'"', b"\\", b"!", b"/", b"|",
        b"-o", b"if", b"endif", b"a", b"myhostname", b"smtp", b"inet", b"n", b"-", b"y", b"smtpd", b"unix", b"0", b"9",
        b"10.0.0.0/8", b"::1/64", b"[", b"]", b"(", b")", b"$1", b"\r", b"\0", b"\xff", "ä".encode(), b"yes", b"5s",
        b"*", b"+", b"^", b"[[:alpha:]]",
    ]
)  # fmt: skip
TEXTS = st.lists(_PIECES, max_size=40).map(b"".join) | st.binary(max_size=60)
STRINGS = TEXTS.map(lambda data: data.decode(errors="replace"))


def entries_of(data: bytes) -> Settings | None:
    try:
        entries, _ = parse_main_cf(data, "main.cf")
    except ConfigError as error:
        assert error.origin.file == "main.cf"
        assert 1 <= error.origin.line <= data.count(b"\n") + 1
        return None
    return Settings("/etc/postfix", entries, (), SYSTEM)


@given(TEXTS)
def test_main_cf(data: bytes) -> None:
    settings_ = entries_of(data)
    if settings_ is None:
        return
    for name, entry in settings_.entries.items():
        assert entry.origin.text.split("=")[0].strip() == name
    for problem in problems(settings_):
        assert problem.origin.line >= 1


@given(TEXTS)
def test_master_cf(data: bytes) -> None:
    try:
        services, _ = parse_master_cf(data, "master.cf")
    except ConfigError as error:
        assert error.origin.file == "master.cf"
        assert 1 <= error.origin.line <= data.count(b"\n") + 1
        return
    assert len({service.key for service in services}) == len(services)


@given(TEXTS, st.data())
def test_a_master_cf_of_plausible_columns(data: bytes, draw: st.DataObject) -> None:
    head = draw.draw(st.sampled_from([b"smtp inet n - n - - smtpd ", b"x unix - - n - 5 smtp -o "]))
    try:
        services, _ = parse_master_cf(head + data, "master.cf")
    except ConfigError as error:
        assert error.origin.file == "master.cf"
        return
    list(problems(Settings("/etc/postfix", {}, services, SYSTEM)))


@given(STRINGS, st.dictionaries(st.sampled_from(["a", "myhostname", "smtp", "n", "y", "yes"]), STRINGS))
def test_expansion_ends(text: str, names: dict[str, str]) -> None:
    with contextlib.suppress(ExpandError):
        assert len(expand(text, names.get)) <= LIMIT + len(text)


@given(STRINGS)
def test_split_loses_nothing(text: str) -> None:
    try:
        items = split(text)
    except ValueError:
        return
    assert "".join("".join(items).split()).replace(",", "") == "".join(text.split()).replace(",", "")


@given(TEXTS)
def test_text_tables(data: bytes) -> None:
    for reader in (map_lines, alias_lines):
        try:
            for line in reader(data, "t"):
                assert line.value
        except ConfigError as error:
            assert error.origin.line >= 1
    with contextlib.suppress(ConfigError):
        looks_like_aliases(data, "t")


@given(TEXTS, STRINGS)
def test_regexp_tables(data: bytes, key: str) -> None:
    try:
        steps = regexp_rules(logical_lines(data, "t"))
    except ConfigError as error:
        assert error.origin.file == "t"
        return
    run(steps, key.replace("\0", ""))


@given(STRINGS, st.text(max_size=30).filter(lambda key: "\0" not in key))
def test_a_regexp_rule(pattern: str, key: str) -> None:
    try:
        steps = regexp_rules(logical_lines(f"/{pattern}/ $$x\n".encode(errors="replace"), "t"))
    except ConfigError:
        return
    run(steps, key)


_ADDRESSES = st.ip_addresses().map(str)
_NETWORKS = st.builds(
    lambda address, length: f"{address}/{length}",
    st.sampled_from(["10.0.0.0", "10.1.0.0", "0.0.0.0", "192.0.2.0", "::", "2001:db8::"]),
    st.sampled_from([0, 8, 16, 24, 32, 64]),
)


@given(st.lists(_NETWORKS, max_size=20), _ADDRESSES | st.sampled_from(["10.1.2.3", "192.0.2.9", "2001:db8::1"]))
def test_the_plan_of_a_cidr_table_agrees_with_its_rules(networks: list[str], key: str) -> None:
    lines = []
    for number, network in enumerate(networks):
        try:
            cidr_rules(logical_lines(f"{network} {number}".encode(), "t"))
        except ConfigError:
            continue
        lines.append(f"{network} {number}")
    steps = cidr_rules(logical_lines("\n".join(lines).encode(), "t"))
    quick, bits = plan(steps), address_bits(key)
    assert quick is not None
    assert bits is not None
    hit = run(steps, key)
    assert quick.first(bits) is (hit[0] if hit else None)


@given(TEXTS)
def test_cidr_tables(data: bytes) -> None:
    try:
        steps = cidr_rules(logical_lines(data, "t"))
    except ConfigError as error:
        assert error.origin.file == "t"
        return
    run(steps, "10.1.2.3")
