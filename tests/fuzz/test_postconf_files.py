"""Whatever main.cf and master.cf hold: postconf answers, and a change touches what it is meant for and nothing else."""

import contextlib
import io
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postwarden.cli import postconf
from postwarden.config.edit_main import edit_main
from postwarden.config.edit_master import Change, edit_master, set_parameter
from postwarden.config.errors import ConfigError
from postwarden.config.physical import split_lines
from postwarden.config.written import read_main, read_master

_PIECES = st.sampled_from(
    [
        b"\n", b" ", b"\t", b"=", b"{", b"}", b"$", b"${", b":", b"?", b"#", b",", b"-o", b"-v", b"a", b"b=c", b"\r",
        b"myhostname", b"smtp inet n - n - - smtpd", b"\nx unix - - - - - smtp", b"\0", b"\xff", "ä".encode(), b"9",
        b"ldap:a", b"$a", b"smtpd_restriction_classes", b"\x0b", b"\xc2\x85",
    ]
)  # fmt: skip
TEXTS = st.lists(_PIECES, max_size=40).map(b"".join) | st.binary(max_size=60)
WORDS = st.sampled_from(["-n", "-nx", "-nf", "-Mf", "-Mx", "-F", "-Px", "-nj", "-Mj", "-d", "-h", "a", "-xC", "user"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, TEXTS, st.lists(WORDS, max_size=3))
def test_postconf_answers(tmp_path: Path, main: bytes, master: bytes, words: list[str]) -> None:
    (tmp_path / "main.cf").write_bytes(main)
    (tmp_path / "master.cf").write_bytes(master)
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = postconf.main("postconf", ["-c", str(tmp_path), *words])
    assert (code == 1) == ("fatal: " in err.getvalue())
    assert err.getvalue().replace("\n", "").isprintable()


@given(TEXTS)
def test_lines_are_the_file(data: bytes) -> None:
    assert b"".join(line.data for line in split_lines(data)) == data


@given(TEXTS)
def test_a_change_of_main_cf_is_the_only_one(data: bytes) -> None:
    changed, _ = edit_main(data, {"a": "new value"})
    try:
        before, _ = read_main(data, "main.cf")
    except ConfigError:
        return
    after, _ = read_main(changed, "main.cf")
    assert after.pop("a").value == "new value"
    before.pop("a", None)
    assert {name: entry.value for name, entry in after.items()} == {n: e.value for n, e in before.items()}
    without, _ = read_main(edit_main(changed, {"a": None})[0], "main.cf")
    assert {name: entry.value for name, entry in without.items()} == {n: e.value for n, e in before.items()}


@given(TEXTS)
def test_a_change_of_master_cf_is_the_only_one(data: bytes) -> None:
    data = b"x unix - - - - - smtp -o a=1\n" + data
    try:
        before, _ = read_master(data, "master.cf")
        after, _ = read_master(
            edit_master(data, "m", [Change("x", "unix", partial(set_parameter, name="a", value="2"))]), "m"
        )
    except (ConfigError, ValueError):
        return
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert (old.columns, old.command) == (new.columns, new.command)
        if old.key != "x/unix":
            assert old.arguments == new.arguments
