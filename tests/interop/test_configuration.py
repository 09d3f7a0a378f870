"""Configuration and tables against Postfix's own postconf and postmap."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.parameters import TABLE
from postwarden.config.settings import load
from postwarden.tables.opening import open_table
from postwarden.tables.table import TableError

POSTCONF, POSTMAP = "/usr/sbin/postconf", "/usr/sbin/postmap"

pytestmark = [
    pytest.mark.postfix,
    pytest.mark.skipif(not os.path.exists(POSTCONF), reason="Debian's postfix is not installed"),
]

OURS = {
    "alias_maps": "hash:/etc/aliases",  # NIS is no default of ours
    "smtpd_forbid_bare_newline": "normalize",
}
OF_THE_MACHINE = {"myhostname", "mydomain", "mynetworks", "process_id", "process_name", "mail_version"}
MACHINE_PATHS = {"shlib_directory", "daemon_directory", "mail_release_date"}


def run(*words: str) -> tuple[str, str, int]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout, done.stderr, done.returncode


def write(path: Path, text: str) -> None:
    """As if an hour ago: Postfix waits up to three seconds for a file that was changed just now to settle."""
    path.write_text(text)
    before = path.stat().st_mtime - 3600
    os.utime(path, (before, before))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path / "main.cf", "compatibility_level = 3.6\n")
    write(tmp_path / "master.cf", "")
    return tmp_path


def test_names_and_defaults(directory: Path) -> None:
    out, _, _ = run(POSTCONF, "-c", str(directory), "-d")
    different = []
    for line in out.splitlines():
        name, _, value = line.partition(" =")
        value = value.strip()
        assert name in TABLE, f"{name} is not known"
        if name not in OF_THE_MACHINE | MACHINE_PATHS and TABLE[name].default != OURS.get(name, value):
            different.append((name, TABLE[name].default, value))
    assert different == []


@pytest.mark.parametrize("level", ["0", "3.6"])
@pytest.mark.parametrize("style", ["", "host", "subnet", "class"])
def test_names_of_the_machine(directory: Path, level: str, style: str) -> None:
    lines = f"compatibility_level = {level}\n" + (f"mynetworks_style = {style}\n" if style else "")
    write(directory / "main.cf", lines)
    names = ("myhostname", "mydomain", "mynetworks", "mydestination", "myorigin", "relay_domains")
    theirs = run(POSTCONF, "-c", str(directory), "-xh", *names)[0].splitlines()
    settings = load(directory)
    assert [" ".join(settings.text(name).split()) for name in names] == theirs


@pytest.mark.parametrize(
    ("interfaces", "protocols"),
    [(i, p) for i in ("loopback-only", "all") for p in ("all", "ipv4", "ipv6")] + [("127.0.0.1", "ipv4")],
)
def test_mynetworks_of_some_interfaces(directory: Path, interfaces: str, protocols: str) -> None:
    lines = f"compatibility_level = 2\ninet_interfaces = {interfaces}\ninet_protocols = {protocols}\n"
    write(directory / "main.cf", lines)
    assert load(directory).text("mynetworks") == run(POSTCONF, "-c", str(directory), "-xh", "mynetworks")[0].strip()


EXPRESSIONS = """\
$a|${a}|$(a)|${a?yes}|${a:no}|${e?yes}|${e:no}|${a?{yes}:{no}}|${e?{yes}:{no}}|x${a?{ y }:{z}}z|${{a}=={a}?{t}:{f}}
${{$a} == {1} ? {t} : {f}}|${{$a} != {1} ? {t} : {f}}|${{2} < {10} ? {t} : {f}}|${{b} < {a} ? {t} : {f}}
${{a} == {b}?t}|${{1} == {1}?t}|${{1} == {2}:f}|${{1}=={1}}|${{1}=={2}}|$$x|$$|${a?$b}|${a?${b}}|${a?{${b}}}|$a.$b
$a-b|$a_b|${nosuch}|${stress?{1}:{3}}|${a?{x}|${a|$|$ a|${}|${a b}|${ a }|${a?}|${a:}|${a?{x}:y}|${a ?{x}:{y}}
${a? {x} : {y} }|${a?{x}{y}}|${{3.6} >=level {3.10} ? {t}:{f}}|${{x} >level {3} ? {t}:{f}}|${{1}=x{1}?{t}:{f}}
${{1} === {1}?{t}:{f}}|a}b|{a}|${a?a{b}c}|${a?a}b}|$(a?x)|$(a?{x}:{y})|${a?x y}|x${a? x }y|${a:x:y}|${a?x:y}|${{a}}
${{01}=={1}?{t}:{f}}|${{}=={}?{t}:{f}}|${{ }=={}?{t}:{f}}|$a$|%$a|${{$e}=={}?{t}:{f}}|${{1}<=level{1}?{t}:{f}}
${{1.2.3.4}<=level{1}?{t}:{f}}|${a.b}|${a-b}|$[a]|$A|${{$a}?{x}:{y}}|${{x} == {x}?{$b}:{z}}|${{ a }=={a}?t:f}
${{ $a}=={1}?t:f}|${e?{x}:y z}|x${e?{x}: y }z|${e?{x}:{y} z}|${e?{x}:$b}|${{1}=={2}?{x}:y}|${{1}=={2}?x:{y}}
${a:{x}:{y}}|${e:{x} }|${e:{x}y}|${a? x}|x${{1}=={1}? { y }}z|x${{1}=={1}?{ y}:{ z }}z|${e?{}:{}}|$(a|$(a}|${a)
${(a)}|x${a?${e:{q}}}y|${{ 1}<=level{3}?t:f}|${{1.0}==level{1}?t:f}|${{}<level{1}?t:f}|${{1.}==level{1}?t:f}
"""


@pytest.mark.parametrize("text", EXPRESSIONS.replace("\n", "|").removesuffix("|").split("|"))
def test_expansion(directory: Path, text: str) -> None:
    write(directory / "main.cf", f"compatibility_level = 3.6\na = 1\nb = bee\ne =\nsmtpd_banner = {text}\n")
    out, err, code = run(POSTCONF, "-c", str(directory), "-xh", "smtpd_banner")
    try:
        ours = " ".join(load(directory).text("smtpd_banner").split())
    except ConfigError:
        assert code or "bad" in err or "fatal" in err
    else:
        assert code == 0
        assert ours == out.strip()


CIDR = """\
10.0.0.0/8 ten
2001:db8::/32 six
if 192.168.0.0/16
192.168.1.1 one
endif
if !172.16.0.0/12
172.16.0.0/16 never
203.0.113.0/24   a b  c
  continued
endif
!!198.51.100.7 bang
[2001:db9::1] brackets
!1.2.3.0/24 not
"""
REGEXP = """\
/^(a+)(b)?@/x no
/^(a+)(c)?@/ got $1-${2}-$$
if /foo/
!/bar/ foonobar
endif
/(x)(y)/ $(2)$1
/[]q]/m bracket
!/^n/ noq
"""
HASH = """\
Foo Bar
"john doe"@example.com  x y
2001:db8::1 OK
 dd
a\\"b c
# c

 x
ä Ö
ÄX y
key  v  w
@dom a@b, c@d,
  e@f
"""
TABLES = {
    "cidr": (
        CIDR,
        "10.1.1.1 2001:db8::1 2001:db9::1 ::1 192.168.1.1 192.168.1.2 1.2.3.4 9.9.9.9 x ::ffff:10.1.1.1 010.1.1.1 "
        "172.16.1.1 203.0.113.9 198.51.100.7",
    ),
    "regexp": (REGEXP, "AAA@x aac@ aab@x foo foobar xy q nothing XYQ fooq n nq]"),
    "texthash": (HASH, 'foo FOO 2001:db8::1 a\\"b ä Äx äX key @dom nope'),
    "hash": (HASH, 'foo FOO 2001:db8::1 a\\"b key @dom nope'),
}


@pytest.mark.parametrize("kind", TABLES)
def test_lookups(tmp_path: Path, kind: str) -> None:
    text, keys = TABLES[kind]
    write(tmp_path / "map", text)
    table = open_table(f"{kind}:map", str(tmp_path))
    if kind == "hash":
        run(POSTMAP, f"hash:{tmp_path}/map")
    for key in keys.split():
        out, err, code = run(POSTMAP, "-q", key, f"{kind}:{tmp_path}/map")
        assert err == ""
        found = table.get(key)
        assert (found.value if found else None) == (out.removesuffix("\n") if code == 0 else None), key


@pytest.mark.parametrize(
    "name",
    [
        "inline:{a=b}", "inline:{ a=b, {c = d e}, f=g=h }", "inline:{}", "inline:{a}", "inline:a=b", "inline:{a=b,a=c}",
        "inline:{{a=b}}", "inline:{ A=b }", "inline:{a = b}", "inline:{{a b = c}}", "static:x", "static:{ x y }",
        "static:{x", "regexp:{{/^a(.)/ <$1>}, {/b/ c d}}", "cidr:{{10.0.0.0/8 x}, {::1 y}}", "unix:passwd.byname",
        "proxy:unix:group.byname",
    ],
)  # fmt: skip
def test_tables_that_are_written_out(name: str) -> None:
    if name.startswith("proxy:"):
        theirs_name = name.removeprefix("proxy:")  # no proxymap runs
    else:
        theirs_name = name
    for key in ("a", "A", "c", "f", "ab", "10.1.1.1", "::1", "root", "nobody"):
        out, err, code = run(POSTMAP, "-q", key, theirs_name)
        try:
            found = open_table(name, "/").get(key)
        except (ConfigError, TableError):
            assert "fatal" in err, key
            break  # Postfix sleeps a second before it ends so
        else:
            assert "fatal" not in err
            assert (found.value if found else None) == (out.removesuffix("\n") if code == 0 else None), key


def test_what_postconf_prints(tmp_path: Path) -> None:
    ours = shutil.which("postwarden", path=str(Path(sys.executable).parent))
    assert ours is not None
    write(tmp_path / "main.cf", "compatibility_level = 3.6\nmyhostname = mx.example.com\nmydestination = a,  b,\n  c\n")
    write(
        tmp_path / "master.cf",
        "smtp inet n - y - - smtpd -o { smtpd_banner = a b } -o smtpd_timeout=5s\nrelay unix - - n - - smtp\n"
        "a-long-transport-name unix - n n - 10 pipe flags=R user=nobody argv=/bin/true ${nexthop} ${user}\n",
    )
    for words in (["-n"], ["-nf"], ["-M"], ["-Mf"], ["-h", "mydomain"], ["-Hn"], ["-x", "mydestination"], ["relay_x"]):
        theirs = run(POSTCONF, "-c", str(tmp_path), *words)
        mine = run(ours, "postconf", "-c", str(tmp_path), *words)
        assert mine[0] == theirs[0], words
        assert mine[2] == theirs[2]
        assert mine[1].replace("postconf: ", "") == theirs[1].replace("/usr/sbin/postconf: ", "")
