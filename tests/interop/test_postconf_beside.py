"""postconf(1) side by side with Postfix's: what is printed, what is left in the files, the exit code."""

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from postwarden.cli import postconf

POSTCONF = "/usr/sbin/postconf"

pytestmark = [
    pytest.mark.postfix,
    pytest.mark.skipif(not os.path.exists(POSTCONF), reason="Debian's postfix is not installed"),
]

# Postfix's command sleeps for a second before it ends with an error.
few = settings(max_examples=40, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
some = settings(max_examples=200, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))

NAMES = (
    "myhostname mydomain mydestination virtual_alias_maps virtual_maps smtpd_banner a b foo rc1 rc2 "
    "smtpd_timeout smtpd_restriction_classes relay_destination_recipient_limit tt_time_limit staff_server_host "
    "staff_x forward_path smtpd_recipient_restrictions compatibility_level mailbox_command fallback_relay"
)
WORDS = (
    "x yy,zz 7 $a ${b} $(foo) ${a?yes} ${b:no} ${a?{x¤y}:{$b}} ${{$a}=={7}?{t}:{f}} $nosuch rc1 rc2, hash:/etc/m "
    "ldap:staff proxy:ldap:staff {a¤b} $$ $home $virtual_maps lllllllllllllllllllllllllllllllllllllllllllllllllll"
).replace(" ", "\n").replace("¤", " ").split("\n")  # fmt: skip
BAD_WORDS = ["${", "$", "${a", "{", "}", "${{a}=={b}", "${a!}"]

values = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)
odd_values = st.lists(st.sampled_from(WORDS * 3 + BAD_WORDS), max_size=5).map(" ".join)
breaks = st.sampled_from([" ", " ", "  ", "\n  ", "\n# c\n\t"])


@st.composite
def main_files(draw: st.DrawFn, value: st.SearchStrategy[str] = values) -> str:
    lines = []
    for name in draw(st.lists(st.sampled_from(NAMES.split()), max_size=8)):
        text = draw(value)
        if name == "compatibility_level":
            text = "3.6"
        equals = draw(st.sampled_from([" = ", "=", "  =", "= "]))
        lines.append(name + equals + draw(breaks).join(text.split(" ")))
        lines += draw(st.sampled_from([[], [], ["# a comment = 1"], [""], ["#", ""]]))
    return "\n".join(lines) + "\n"


OPTIONS = (
    "-v -o¤a=$b -oa=7 -o¤{b=x¤y} -o¤{¤foo¤=¤x¤$a¤} -vo¤smtpd_banner=hi -o¤virtual_maps=x -o¤rc1=x -x -o¤nosuch=1 "
    "-o¤smtpd_restriction_classes=rc1 -o¤virtual_alias_maps=ldap:staff -o¤staff_server_host=h"
)
ARGUMENTS = "flags=R user=nobody argv=/bin/x ${user} {x¤y} -o¤a=b -v"


@st.composite
def entries(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(["smtp", "tt", "relay", "127.0.0.1:10025"]))
    columns = [
        name,
        draw(st.sampled_from(["inet", "unix", "unix", "pass", "fifo"])),
        *(draw(st.sampled_from("-yn")) for _ in range(3)),
        draw(st.sampled_from(["-", "60", "1000?"])),
        draw(st.sampled_from(["-", "0", "10"])),
        draw(st.sampled_from(["smtpd", "smtp", "pipe", "spawn", "cleanup", "discard", "local"])),
    ]
    options = draw(st.lists(st.sampled_from(OPTIONS.split()), max_size=4))
    arguments = draw(st.lists(st.sampled_from(ARGUMENTS.split()), max_size=3))
    text = draw(st.sampled_from([" ", "   ", "\t"])).join(columns)
    for word in (*options, *arguments):
        text += draw(st.sampled_from([" ", " ", "\n  ", "\n#c\n  "])) + word
    return text.replace("¤", " ")


@st.composite
def master_files(draw: st.DrawFn) -> str:
    parts = draw(st.lists(entries(), max_size=4, unique_by=lambda text: tuple(text.split()[:2])))
    return "\n".join(part + draw(st.sampled_from(["", "\n", "\n# c"])) for part in parts) + "\n"


def warnings(text: str) -> list[str]:
    """In order, without those of bad expressions: each has its own words, and Postfix expands mydomain twice."""
    return sorted(line for line in text.splitlines() if "macro" not in line)


class Sides:
    """The same two files twice, for Postfix's command and for ours."""

    def __init__(self, main: str, master: str) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="pw-conf"))
        for side in ("theirs", "ours"):
            (self.base / side).mkdir()
            for name, text in (("main.cf", main), ("master.cf", master)):
                path = self.base / side / name
                path.write_text(text)
                # Postfix waits up to three seconds for a file that was changed just now to settle.
                os.utime(path, (1_600_000_000, 1_600_000_000))

    def theirs(self, words: list[str]) -> tuple[str, list[str], int]:
        done = subprocess.run(
            [POSTCONF, "-c", ".", *words], cwd=self.base / "theirs", capture_output=True, text=True, timeout=20
        )
        return done.stdout, warnings(done.stderr.replace(f"{POSTCONF}:", "postconf:")), done.returncode

    def ours(self, words: list[str]) -> tuple[str, list[str], int]:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.chdir(self.base / "ours"), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = postconf.main("postconf", ["-c", ".", *words])
        out.seek(0)
        return out.read(), warnings(err.getvalue()), code

    def files(self) -> tuple[str, str]:
        return tuple(
            "\n".join((self.base / s / n).read_text() for n in ("main.cf", "master.cf")) for s in ("theirs", "ours")
        )  # type: ignore[return-value]

    def close(self) -> None:
        shutil.rmtree(self.base)


@contextlib.contextmanager
def sides(main: str, master: str) -> Iterator[Sides]:
    both = Sides(main, master)
    try:
        yield both
    finally:
        both.close()


SHOWN = (
    "-n -nf -nx -nxf -nh -nH -M -Mf -Mx -Mxf -F -Ff -FH -P -Pf -Px -Ph -PH -Pxf -n¤-C¤user -n¤-C¤service "
    "-n¤-C¤builtin,user -P¤smtp -P¤*/unix -M¤smtp/inet -M¤tt¤nosuch -F¤*/*/command -F¤smtp/*/chroot -P¤*/*/a "
    "a¤smtpd_banner¤rc1¤nosuch -h¤mydestination¤tt_time_limit -xh¤myhostname¤mydomain "
    "-d¤mydestination¤tt_time_limit -n¤-o¤a=b -x¤-o¤a=7¤smtpd_banner -d¤-C¤service"
)
shown = st.sampled_from([word.split("¤") for word in SHOWN.split()])


@some
@given(main_files(), master_files(), shown)
def test_what_is_shown(main: str, master: str, words: list[str]) -> None:
    with sides(main, master) as both:
        ours, theirs = both.ours(words), both.theirs(words)
        if theirs[2]:  # each has its own words for a loop; some that are deep end theirs by a signal
            ours, theirs = (ours[0], [], ours[2]), (theirs[0], [], 1)
        assert ours == theirs


@few
@given(main_files(odd_values), master_files(), shown)
def test_what_is_shown_of_mistakes(main: str, master: str, words: list[str]) -> None:
    with sides(main, master) as both:
        ours, theirs = both.ours(words), both.theirs(words)
        assert (ours[0], ours[2]) == (theirs[0], theirs[2])


CHANGES = (
    "a=1 a= -e¤foo=$x¤y=z myhostname=x¤a=2¤a=3 -X¤a -X¤a¤foo¤nosuch -#¤a -#¤mydestination¤b -p¤b=7 -X¤a¤b=c {a=b} =x"
)
changes = st.sampled_from([word.split("¤") for word in CHANGES.split()])


@few
@given(main_files(), changes)
def test_changes_of_main_cf(main: str, words: list[str]) -> None:
    with sides(main, "") as both:
        assert both.ours(words) == both.theirs(words)
        theirs, ours = both.files()
        # Several names that are new have no order there.
        assert ours == theirs if len(words) == 1 else sorted(ours.splitlines()) == sorted(theirs.splitlines())


MASTER_CHANGES = (
    "-M¤smtp/inet=smtp_inet_n_-_n_-_-_smtpd_-o_q=7 -M¤new/unix=new_unix_-_-_-_-_-_smtp -MX¤smtp/* -MX¤*/unix "
    "-M#¤tt/unix -M¤*/inet=x_inet_-_-_-_-_-_smtpd -M¤smtp/inet=x -M¤smtp=x -F¤smtp/inet/chroot=n "
    "-F¤*/*/chroot=y¤*/unix/private=n -F¤*/*/chroot=q -F¤tt/unix/command=pipe_-v_flags=R_-o_x "
    "-F¤relay/unix/service=other -F¤a/b/c=d -P¤*/*/a=9 -P¤smtp/inet/a=1¤smtp/inet/zz= -PX¤*/*/a "
    "-PX¤smtp/inet/smtpd_banner¤tt/unix/a -P¤smtp/inet/x=_a_b -P¤smtp/inet/*=1"
)
master_changes = st.sampled_from([word.replace("_", " ").split("¤") for word in MASTER_CHANGES.split()])


@few
@given(master_files(), master_changes)
def test_changes_of_master_cf(master: str, words: list[str]) -> None:
    master = master.replace(" {x y}", "")  # that command loses the braces of a first argument
    if "M" not in words[0]:
        # Postfix puts comments behind an entry that it changes before that entry: ours stay where they are.
        master = "".join(line for line in master.splitlines(keepends=True) if line.strip() and line[0] != "#")
    with sides("", master) as both:
        assert both.ours(words) == both.theirs(words)
        theirs, ours = both.files()
        assert ours == theirs


def conditions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    braced = inner.map(lambda text: f"{{{text}}}")
    branches = st.one_of(
        st.just(""),
        st.builds("?{}:{}".format, braced, braced),
        st.builds("? {} : {}".format, braced, braced),
        st.builds("?{}".format, braced),
        st.builds(":{}".format, braced),
        st.just("?q"),
    )
    plain = ["==", "!=", "<", "<=", ">", ">="]
    operators = st.sampled_from([*plain, *(f"{operator}level" for operator in plain)])
    names = st.sampled_from(["a", "e", "b", "n", "nosuch", "l"])
    return st.one_of(
        st.builds("${{{}{}}}".format, names, branches),
        st.builds("${{{}{}{}{}}}".format, braced, operators, braced, branches),
        st.builds("${{{} {} {} {}}}".format, braced, operators, braced, branches),
        st.builds("${} $({})".format, names, names),
    )


PLAIN = ["x", "y z", "", "7", "-1", "10", "9", "+5", " 7 ", "0x1", "99999999999999999999", "3.6", "3.10", "{q}"]
expressions = st.recursive(st.sampled_from(PLAIN), conditions, max_leaves=5)


@few
@given(st.lists(expressions, min_size=1, max_size=3).map(" ".join))
def test_what_an_expression_comes_to(text: str) -> None:
    main = f"compatibility_level = 3.6\na = 1\nb = bee\ne =\nn = $a$b\nl = $n\nsmtpd_banner = |{text}|\n"
    with sides(main, "") as both:
        ours, theirs = both.ours(["-xh", "smtpd_banner"]), both.theirs(["-xh", "smtpd_banner"])
        assert (ours[0], ours[2]) == (theirs[0], theirs[2])
