"""Tables of every type that both have, from generated texts: the same keys give the same answers and exit codes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds
from tests.interop.test_postmap import Outcome, Place
from tests.realpostfix import needs_postfix

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

TYPES = frozenset(
    subprocess.run(["postconf", "-m"], capture_output=True, text=True, check=False).stdout.split()
    if shutil.which("postconf")
    else ()
)
QUICK = settings(
    deadline=None,
    max_examples=rounds(12),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def settle(place: Place) -> None:
    """Postfix reads a file of this second again and again until it is older."""
    for name in ("map", "other"):
        for directory in (place.real, place.ours):
            if (directory / name).exists():
                os.utime(directory / name, (0, 0))


def different(ours: Outcome, real: Outcome) -> bool:
    """What a table says of itself while it is read is compared where it is made; here the answers are."""
    return ours[:2] != real[:2]


LINES = st.lists(
    st.one_of(
        st.sampled_from([
            b"a 1", b"A 2", b"b\t3", b" more", b"\t", b"", b"# c", b"key: v", b"alone", b'"a b" c', b'"un b',
            b"a@b.c x, y ", b"@b.c at", b"b.c dot", b".b.c sub", b"e\\ f g", b"\xc3\x89 u", b"\xff u", b"crlf v\r",
            b"=1 2", b"%s p", b"1.2.3.4 ip", b"::1 six",
        ]),
        st.text("aAbB :,\"\\\té", max_size=10).map(str.encode),
    ),
    max_size=10,
)  # fmt: skip
KEYS = b'a\nA\nb\nkey:\nkey\n"a b"\na b\na@b.c\n@b.c\nb.c\n.b.c\n\xc3\x89\n\xc3\xa9\nu\ncrlf\n=1\n%s\n1.2.3.4\n::1\n'


@pytest.mark.parametrize("kind", ["hash", "btree", "lmdb", "cdb", "texthash"])
@given(lines=LINES)
@QUICK
def test_indexes_and_texts(place: Place, kind: str, lines: list[bytes]) -> None:
    if kind not in TYPES:
        pytest.skip(f"needs postfix-{kind}")
    place.write("map", b"\n".join(lines) + b"\n")
    for directory in (place.real, place.ours):
        for index in directory.glob("map.*"):
            index.unlink()
    settle(place)
    if kind != "texthash":
        ours, real = place.both(f"{kind}:map")
        assert not different(ours, real)
        assert [line.replace("lmdb:map", "map.db") for line in ours[2] if "lmdb:" not in line or kind == "lmdb"] == [
            line.replace("lmdb:map", "map.db") for line in real[2] if "duplicate" not in line or kind in ("lmdb", "cdb")
        ]
    ours, real = place.both("-q", "-", f"{kind}:map", stdin=KEYS)
    assert not different(ours, real), (ours, real)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


EXPRESSIONS = st.lists(
    st.sampled_from([
        "a", "b", "x", ".", "^", "$", "a*", "b+", "[ab]", "[^a]", "[[:alpha:]]", "(a)", "(b|x)", "(a*)", "@", "\\.",
        "/?", "a{2}", "(", ")", "[", "\\", "\u00e9", "|", "?",
    ]),
    min_size=1,
    max_size=4,
).map("".join)  # fmt: skip
PERL = st.one_of(
    EXPRESSIONS, st.sampled_from(["(?i)A", "(?!a)b", "a(?=b)", "\\d+", "\\bx", "(?<n>a)", "a*?b", "\\x61"])
)
TEXTS = st.sampled_from(["one", "$1", "${1}x", "$(1)", "$$", "a $2", "$", "${x}", "x y  z ", "", "$1$1"])
FLAGS = st.sampled_from(["", "", "", "i", "m", "x", "ii", "q"])


def rules(expressions: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    pattern = joined(st.sampled_from(["/", "/", "/", "!/"]), expressions, st.just("/"), FLAGS)
    rule = joined(pattern, st.just(" "), TEXTS)
    block = joined(st.just("if "), pattern, st.just("\n"), rule, st.just("\n"), rule, st.just("\nendif"))
    odd = st.sampled_from(["endif", "if /a/", "nonsense", " continued", "# x", "", "/a", "endif x"])
    return st.lists(st.one_of(rule, rule, rule, block, odd), min_size=1, max_size=5)


NETWORKS = st.one_of(
    st.sampled_from([
        "10.0.0.0/8", "!10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "::/0", "2001:db8::/32", "!::/0",
        "10.1.2.3/8", "10.0.0.300",
        "if 10.0.0.0/8", "if !10.1.0.0/16", "endif", "[::1]", "1.2.3.4/32", "10.1.2.0/24", "x", "!", "10.0.0.0/33",
    ]),
)  # fmt: skip
SUBJECTS = "a\nab\nbab\nA\nx\naaa\n\u00e9\na/b\na@b.x\n.\n\nb\nxa\n12\n".encode()
ADDRESSES = b"10.1.2.3\n10.9.9.9\n1.2.3.4\n::1\n2001:db8::1\n2001:0db8::0001\nname\n10.1.2.3.4\n[::1]\n"


def compare_rules(place: Place, kind: str, lines: list[str], keys: bytes) -> None:
    """Rule by rule the same; where Postfix leaves a rule out, ours puts off what it would decide (docs/tables.md)."""
    place.write("map", "\n".join(lines).encode() + b"\n")
    settle(place)
    ours, real = place.both("-q", "-", f"{kind}:map", stdin=keys)
    faults = [line for line in real[2] if "warning" in line and " map map, line" in line]
    if faults:
        assert any("warning" in line for line in ours[2])
        assert ours[0] in (0, 1)
    else:
        assert not different(ours, real), (lines, ours, real)


@given(lines=rules(EXPRESSIONS))
@QUICK
def test_regexp(place: Place, lines: list[str]) -> None:
    compare_rules(place, "regexp", lines, SUBJECTS.replace("\u00e9\n".encode(), b""))


@given(lines=rules(PERL))
@QUICK
def test_pcre(place: Place, lines: list[str]) -> None:
    if "pcre" not in TYPES:
        pytest.skip("needs postfix-pcre")
    compare_rules(place, "pcre", lines, SUBJECTS)


@given(lines=st.lists(joined(NETWORKS, st.sampled_from([" one", "\ttwo  x ", ""])), max_size=6))
@QUICK
def test_cidr(place: Place, lines: list[str]) -> None:
    compare_rules(place, "cidr", lines, ADDRESSES)


NAMES = st.recursive(
    st.sampled_from([
        "static:x", "static:{ a  b }", "inline:{a=1}", "inline:{a=b, {A = x y}, b=}", "inline:{ {a = } }",
        "randmap:{one}", "environ:x", "texthash:map", "lmdb:map", "cidr:{{10.0.0.0/8 ten}}", "regexp:{{/a/ re}}",
        "unix:passwd.byname",
    ]),
    lambda inner: st.builds(
        lambda kind, parts: f"{kind}:{{{', '.join(parts)}}}",
        st.sampled_from(["unionmap", "pipemap"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=5,
)  # fmt: skip
"""All of them right: Postfix's command takes a second to refuse one, and what it says then is compared elsewhere."""


@given(name=NAMES, key=st.sampled_from(["a", "A", "b", "10.1.1.1", "root", "zz", "1"]))
@QUICK
def test_names(place: Place, name: str, key: str) -> None:
    if "lmdb" not in TYPES:
        pytest.skip("needs postfix-lmdb")
    place.write("map", b"a 1\nzz 2\n")
    if not (place.ours / "map.lmdb").exists():
        place.both("map")
    settle(place)
    ours, real = place.both("-q", key, name)
    assert not different(ours, real), (name, ours, real)


ALIASES = st.lists(
    st.one_of(
        st.sampled_from([
            b"root: a", b"ROOT: b", b'"john doe": x', b"list: a,", b" b", b"empty:", b": v", b"bad", b"a@b: c",
            b"# c: d", b"x : y", b'p: "|prog a  b"', b"i: :include:/etc/x, /dev/null", b"m: a ,  b", b"d: e:f",
            b"q: a@b",
            b"\xc3\x89: z", b"\xff: r", b"g: \"a b\"@c", b"h: (comment) a", b"k: a b", b"back\\ slash: y",
        ]),
        st.text("ab:, \t", max_size=8).map(str.encode),
    ),
    max_size=8,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["lmdb", "hash"])
@given(lines=ALIASES)
@QUICK
def test_aliases(place: Place, kind: str, lines: list[bytes]) -> None:
    if "lmdb" not in TYPES:
        pytest.skip("needs postfix-lmdb")
    place.write("map", b"\n".join(lines) + b"\n")
    settle(place)
    ours, real = place.both(f"{kind}:map", program="postalias")
    assert not different(ours, real)
    keys = b"root\nROOT\njohn doe\nlist\nx\np\ni\nm\nd\nq\n\xc3\x89\ng\nh\nk\na\nb\na b\nab\nback slash\n"
    ours, real = place.both("-q", "-", f"{kind}:map", stdin=keys, program="postalias")
    assert not different(ours, real), (lines, ours, real)
