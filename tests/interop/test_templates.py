"""Templates of reports against Postfix's own postconf -b and -t."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

POSTCONF = "/usr/sbin/postconf"

pytestmark = [
    pytest.mark.postfix,
    pytest.mark.skipif(not os.path.exists(POSTCONF), reason="Debian's postfix is not installed"),
]
GOOD = """\
# comment

failure_template = <<EOF
Charset: utf-8
From: MAILER-DAEMON (Mail Delivery System)
Subject: My Failure
Postmaster-Subject: PM Copy

Host $myhostname ${mydomain} $$ ${delay_warning_time_minutes} ${delay_warning_time_seconds} ${nosuch?x}
${mail_name?yes} \\ backslash $maximal_queue_lifetime_weeks ünïcode
 $delay_warning_time ${maximal_queue_lifetime_hours} $maximal_queue_lifetime_days
EOF

success_template = <<END2
Subject: Arrived


two empty lines above
END2
"""


def one(*lines: str) -> str:
    return "\n".join(("failure_template = <<EOF", *lines, "EOF", ""))


CASES = {
    "good": GOOD,
    "no text": one("Subject: x"),
    "no end": "failure_template = <<EOF\nSubject: x\n\ntext\n",
    "unknown template": "strange_template = <<EOF\nSubject: x\n\ntext\nEOF\n",
    "unknown header": one("X-Strange: foo", "", "text"),
    "no header": one("", "only text"),
    "no template file": "hello there\n",
    "header not ASCII": one("Subject: ü", "", "text"),
    "text not ASCII": one("Subject: x", "", "ü"),
    "bad name": one("Subject: x", "", "text $(foo"),
    "bad unit": one("Subject: x", "", "$delay_warning_time_years"),
    "folded header": one("Subject: x", " more", "", "text"),
    "empty": "",
    "twice": one("Subject: a", "", "text") + one("Subject: b", "", "text2"),
    "no equals": "failure_template <<EOF\nSubject: a\n\ntext\nEOF\n",
    "blanks": "  failure_template=<<EOF  \nsubject:a\nCHARSET:  utf-8\n\ntext\nEOF\n",
    "no end marker": "failure_template = << \nSubject: a\n\ntext\n\n",
    "undefined name": one("Subject: a", "", "$nosuch"),
    "bad end marker": "failure_template = <<__\nSubject: a\n\ntext\n__\n",
    "value": "failure_template = text\n",
    "empty header": one("Subject:", "From:", "", "text"),
    "header without colon": one("no header line", "", "text"),
    "dots": one("Subject: a", "", ".", "From x", "", "", "end"),
    "two of a header": one("Subject: a", "Subject: b", "", "text"),
    "blank line of blanks": one("Subject: a", "  ", "text"),
    "two empty lines": one("Subject: a", "", "", "text"),
    "zero": "delay_template = <<EOF\nSubject: z\n\n$delay_warning_time_weeks\nEOF\n",
}
MAIN_CF = "compatibility_level = 3.6\nmyhostname = mx.example.com\ndelay_warning_time = 90m\n"


def both(tmp_path: Path, *words: str, main_cf: str = MAIN_CF) -> list[subprocess.CompletedProcess[bytes]]:
    (tmp_path / "main.cf").write_text(main_cf)
    (tmp_path / "master.cf").write_text("")
    os.utime(tmp_path / "main.cf", (0, 0))  # Postfix reads a file of this second again and again until it is older
    ours = [
        sys.executable,
        "-c",
        "import sys; from postwarden.cli.postconf import main; sys.exit(main('postconf', sys.argv[1:]))",
    ]
    return [
        subprocess.run([*program, "-c", str(tmp_path), *words], capture_output=True, timeout=30)
        for program in ([POSTCONF], ours)
    ]


@pytest.mark.parametrize("option", ["-b", "-t"])
@pytest.mark.parametrize("case", CASES)
def test_a_file(tmp_path: Path, case: str, option: str) -> None:
    file = tmp_path / "bounce.cf"
    file.write_text(CASES[case])
    os.utime(file, (0, 0))
    theirs, ours = both(tmp_path, option, str(file))
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
    assert bool(ours.stderr) == bool(theirs.stderr), ours.stderr


@pytest.mark.parametrize("option", ["-b", "-t"])
def test_which_file(tmp_path: Path, option: str) -> None:
    file = tmp_path / "bounce.cf"
    file.write_text(GOOD)
    main_cf = f"{MAIN_CF}bounce_template_file = {file}\nheader_from_format = obsolete\n"
    for words in ([], [""], [str(file)], [str(tmp_path / "none")], [str(file), str(file)]):
        theirs, ours = both(tmp_path, option, *words, main_cf=main_cf)
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), words


@pytest.mark.parametrize("words", [["-bt"], ["-bn"], ["-td"], ["-bh"], ["-tx"]])
def test_they_stand_alone(tmp_path: Path, words: list[str]) -> None:
    theirs, ours = both(tmp_path, *words)
    assert ours.returncode == theirs.returncode == 1
    assert ours.stderr.splitlines()[0] == theirs.stderr.splitlines()[0].removeprefix(b"/usr/sbin/")
