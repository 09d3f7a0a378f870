"""Commands and pipes: ours beside real Postfix's local(8) and pipe(8), from the same mail.

Hundreds of situations: what a program is told, how it may end, where mail goes instead of a mailbox. The log lines,
what the programs were given, and the reports to the sender must be the same.
"""

import email
import re
import smtplib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.accounts import account_name, accounts
from tests.passable import passable
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import MASTER_CF, Gateway, running, until

pytestmark = [pytest.mark.postfix, pytest.mark.long, needs_postfix]

A, B, AWAY, FORWARD, BAD = USERS = tuple(account_name(f"pwprog{letter}") for letter in "abcde")
EXITS = (0, 1, 2, *range(64, 80), 126, 127, 255)
SAYS = {"": "", "o": "echo some words; echo more;", "d": "echo 5.7.9 by a code;", "l": "echo 4.7.9 later;"}
DUMP = """\
#!/bin/sh
# dump NAME …: what a program is given, into a file of that name.
{ env | grep -v ^PWD= | sort; id -u; id -g; id -G; pwd; umask; for word; do echo "[$word]"; done; echo --; cat; } \\
    > {dir}/out/$1.$(echo "$*$ORIGINAL_RECIPIENT" | cksum | cut -d' ' -f1) 2>&1
"""
END = """\
#!/bin/sh
# end CODE HOW: as the recipient's address says.
case "$2" in o) echo some words; echo more;; d) echo 5.7.9 by a code;; l) echo 4.7.9 later;; esac
case "$1" in sig*) kill -${1#sig} $$;; *) exit $1;; esac
"""
ALIASES = {
    "signal": "|kill -9 $$",
    "signal-said": "|echo out; kill -15 $$",
    "slow": "|sleep 100",
    "slow-said": "|echo begun; sleep 100",
    "no-input": "|exec 0<&-; sleep 0.1",
    "flood": "|yes abcdefghij | head -c 100000; exit 1",
    "binary": "|printf 'a\\001b\\377c\\n\\ttab'; exit 1",
    "success-said": "|echo 5.7.9 no matter; exit 0",
    "two-said": "|echo 2.7.9 fine; exit 1",
    "code-alone": "|echo 5.7.9; exit 1",
    "no-code": "|echo 5.7.9x foo; exit 75",
    "lines": "|cat > /dev/null; printf 'a\\r\\nb\\r\\n'; exit 1",
    "missing": "|/no/such/program",
    "no-exec": "|{dir}/plain",
    "no-interpreter": "|{dir}/nointerpreter",
    "no-shebang": "|{dir}/noshebang",
    "built-in": "|exit",
    "relative": "|true",
    "assigns": "|LANG=C true",
    "unknown-name": "|nosuchprogram -x",
    "wide-digits": "|printf '5.\\357\\274\\221.1 no'; exit 67",
    "nothing": "|",
    "dump": "|{dir}/dump dump a  'b c'",
    "dump-plain": "|{dir}/dump dump-plain a b",
    "dump-list": ":include:{dir}/commands",
    "list-of-user": ":include:{dir}/users-commands",
    "two": "|/bin/true, |/bin/true",
    "two-ways": "|/bin/true, |exit 67",
    "user-and-failure": "|exit 75, {a}",
    "user-and-bounce": "|exit 67, {a}",
    "to-forward": "{forward}",
    "nested": ":include:{dir}/outer",
    "same-twice": "{a}, {a}, {a}+x, \\{a}",
    "in-two-tables": "|exit 67",
    "lists": "{a}, nosuch-at-all",
    "owner-lists": "{b}",
    "plain-request": "{b}",
    "space-in-path": '"{dir}/out/a file"',
    "escaped": '"|echo \\"$RECIPIENT\\" > /dev/null"',
}
SERVICES = {
    "boxcmd": 'mailbox_command = {dir}/dump boxcmd-$USER-$EXTENSION "a  b"',
    "boxmaps": "mailbox_command_maps = inline:{{ {{ {a} = {dir}/dump boxmaps }} }}, mailbox_command = /bin/false",
    "boxfail": "mailbox_command = exit 75",
    "exdir": "mailbox_command = {dir}/dump exdir, command_execution_directory = {dir}/out",
    "exuser": "mailbox_command = {dir}/dump exuser-$USER, command_execution_directory = {dir}/$user$extension",
    "exnone": "mailbox_command = {dir}/dump exnone, command_execution_directory = /no/such/$user",
    "shell": "local_command_shell = {dir}/dump shell, mailbox_command = any thing",
    "exported": "mailbox_command = {dir}/dump exported, export_environment = FOO=bar LANG",
    "filtered": "mailbox_command = {dir}/dump filtered, command_expansion_filter = abcdefgh@.",
    "bare": "mailbox_command = {dir}/dump bare, prepend_delivered_header = file",
    "trans": "mailbox_transport = ptrue:",
    "transmaps": "mailbox_transport_maps = inline:{{ {{ {a} = pdump:HOP }} }}",
    "fall": "fallback_transport = pnobody:HOP",
    "fallmaps": "fallback_transport_maps = inline:{{ {{ nosuch = ptrue:HOP }} }}",
    "luser": "luser_relay = {a}+$local@mx.example.com",
    "luserdomain": "luser_relay = $user+$extension@$domain.invalid",
    "lusergone": "luser_relay = stillnosuch@mx.example.com",
    "luserfile": "luser_relay = {dir}/out/luser",
    "luserfall": "fallback_transport = ptrue:, luser_relay = {a}",
    "nocmd": "allow_mail_to_commands = include",
    "incl": "allow_mail_to_commands = alias forward include",
    "home": "home_mailbox = Mailbox",
    "homedir": "home_mailbox = Maildir/",
    "nospool": "mail_spool_directory = {dir}/absent",
    "nospooldir": "mail_spool_directory = {dir}/missing/",
    "privatespool": "mail_spool_directory = {dir}/private/",
    "owned": "expand_owner_alias = yes",
    "unowned": "owner_request_special = no",
    "delivered": "frozen_delivered_to = no",
    "nohome": "require_home_directory = yes",
    "union": "alias_maps = unionmap:{{inline:{{ {{ zz = zz }} }},texthash:{dir}/users-aliases}}",
    "order": "mailbox_transport = ptrue:, mailbox_command = /bin/false",
}
PIPES = {
    "ptrue": "user={a} argv=/bin/true",
    "pend": "user={a} argv={dir}/end $user $extension",
    "pdump": "flags=BFRhu.> user={a}:games argv={dir}/dump pdump $sender $recipient $user $extension $mailbox"
    " $domain $nexthop $original_recipient $client_address $client_helo $client_hostname $client_protocol $sasl_method"
    " $sasl_sender $sasl_username ${{nexthop}} $(user) x$$y a${{user}}b${{extension}}c {{two words}}"
    " ${{sender}}:${{recipient}}",
    "pone": "flags=DFORX user={a} argv={dir}/dump pone-$user $recipient",
    "pnobody": "user={a} argv={dir}/dump pnobody $user $nexthop $original_recipient",
    "pplain": "user={a} argv={dir}/dump pplain $sender $user $extension $recipient end",
    "peol": "flags=RF. eol=\\r\\n null_sender= user={a} argv={dir}/dump peol $sender -- $recipient",
    "pnull": "flags=FRq null_sender=foo@bar user={a} argv={dir}/dump pnull $sender -- $recipient",
    "pdir": "user={a} directory={dir}/out argv=../dump pdir",
    "pnodir": "user={a} directory=/no/such argv={dir}/dump pnodir",
    "pmissing": "user={a} argv=/no/such/program",
    "pnoexec": "user={a} argv={dir}/plain",
    "pnoshebang": "user={a} argv={dir}/noshebang",
    "psize": "user={a} size=100 argv=/bin/cat",
    "psaid": "user={a} argv=/bin/echo hello $recipient",
    "plong": "user={a} argv=/bin/sh -c {{cat > /dev/null; seq 1000}}",
    "pslow": "user={a} argv=/bin/sleep 100",
    "pbadmacro": "user={a} argv=/bin/echo $",
    "pnomacro": "user={a} argv=/bin/echo ${{extension?yes}}",
}
MESSAGE = (
    b"From: Ann <ann@example.org>\r\nSubject: hi\r\nMessage-Id: <1@example.org>\r\n"
    b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nFrom me\r\n.dot\r\n\xe9\r\n\r\nend\r\n"
)
ME = f"{B}@mx.example.com"


def recipients() -> list[tuple[list[str], str]]:
    """(recipients, sender) of each message."""
    said = [f"exit{code}{how}" for code in EXITS for how in SAYS]
    here = [*said, *ALIASES, FORWARD, f"{FORWARD}+news", f"{FORWARD.upper()}+A/b", BAD, f"Dump+{'Ext'}", "dump+`x`"]
    found = [([name], ME) for name in here]
    users = (A, f"{A.upper()}+Ext", "nosuch", "nosuch+ext", "root", "postmaster")
    found += [([f"{user}@{service}.example"], ME) for service in SERVICES for user in users]
    found += [([f"dump-list@{service}.example"], ME) for service in ("nocmd", "incl")]
    found += [([f"lists@{service}.example"], ME) for service in ("owned", "unowned", "delivered")]
    found += [([name], ME) for name in (AWAY, "second", "third+x", "fourth", "in-two-tables", "list-owner")]
    found += [([f"User+Ext@{name}.Example"], ME) for name in PIPES if name != "pend"]
    ends = [f"{code}+{how}@pend.example" if how else f"{code}@pend.example" for code in EXITS for how in SAYS]
    found += [([end], ME) for end in [*ends, "sig9@pend.example", "sig15+o@pend.example"]]
    found += [(["+only@pplain.example", "u+e@pplain.example", "v@pplain.example", "x+@pplain.example"], "")]
    found += [(["one@pnull.example", "two@pnull.example"], ""), (["two@peol.example"], "")]
    found += [([f"{A}@boxcmd.example"], ""), (["dump-plain"], "")]
    return found


@pytest.fixture(scope="module")
def users() -> Iterator[None]:
    with accounts(*USERS):
        yield


def furnish(base: Path) -> tuple[dict[str, str], str]:
    """Programs, lists and mailboxes below `base`; main.cf, and what is added to master.cf."""
    base.mkdir()
    passable(base)
    names = {"dir": str(base), "a": A, "b": B, "away": AWAY, "forward": FORWARD}
    for name, text, mode in (
        ("dump", DUMP.replace("{dir}", str(base)), 0o755),
        ("end", END, 0o755),
        ("plain", "#!/bin/sh\n", 0o644),
        ("nointerpreter", "#!/no/such\n", 0o755),
        ("noshebang", "echo hi; exit 3\n", 0o755),
        ("commands", f'"|{base}/dump dump-list"\n', 0o644),
        ("users-commands", f'"|{base}/dump list-of-user"\n', 0o644),
    ):
        (base / name).write_text(text)
        (base / name).chmod(mode)
    (base / "users-aliases").write_text(f"{A} |{base}/dump union\n")
    subprocess.run(["chown", A, base / "users-commands", base / "users-aliases"], check=True)
    aliases = {name: value.format(**names) if "$$" not in value else value for name, value in ALIASES.items()}
    aliases |= {f"exit{code}{how}": f"|{said}exit {code}" for code in EXITS for how, said in SAYS.items()}
    with (base / "aliases").open("w") as file:
        for name, value in aliases.items():
            written = value if not value.startswith("|") or ", " in value else f'"{_escaped(value)}"'
            file.write(f"{name}: {_listed(written)}\n")
    for name, mode in (("spool", 0o1777), ("out", 0o777), ("forward", 0o755)):
        (base / name).mkdir()
        (base / name).chmod(mode)
    (base / "forward" / FORWARD).write_text(f'"|{base}/dump forward-$USER-$EXTENSION"\n')
    (base / "forward" / AWAY).write_text(
        f'# away\n\\{AWAY}, "|{base}/dump forward-mix"\n{base}/out/forward-file\n:include:{base}/users-commands\n'
    )
    (base / "more").write_text(f"second {A}\nin-two-tables {A}\n")
    (base / "patterns").write_text(f"/^third/ {A}\n/^(fourth)$/ ${{1}}x\n")
    (base / "outer").write_text(f"{A}\n:include:{base}/inner\n")
    (base / "inner").write_text(f":include:{base}/outer, {B}\n")
    (base / "private").mkdir(mode=0o700)
    (base / "forward" / BAD).write_text('"|exit 67"\n')
    domains = [*SERVICES, *PIPES]
    main = {
        "alias_maps": f"hash:{base}/aliases, texthash:{base}/more, regexp:{base}/patterns",
        "mail_spool_directory": f"{base}/spool",
        "recipient_delimiter": "+",
        "local_recipient_maps": "",
        "smtpd_reject_unlisted_recipient": "no",
        "forward_path": f"{base}/forward/$user",
        "command_time_limit": "2s",
        "pslow_time_limit": "1s",
        "pone_destination_recipient_limit": "1",
        "local_destination_concurrency_limit": "20",
        "transport_maps": "inline:{" + ", ".join(f"{{{n}.example={n}:NextHop.{n}}}" for n in domains) + "}",
    }
    rows = []
    for name, options in SERVICES.items():
        settings = re.split(r", (?=\w+ =)", options.format(**names))
        rows.append(f"{name} unix - n n - - local" + "".join(f"\n  -o {{ {setting} }}" for setting in settings))
    rows += [f"{name} unix - n n - - pipe\n  {text.format(**names)}" for name, text in PIPES.items()]
    return main, "".join(f"{row}\n" for row in rows)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _listed(value: str) -> str:
    """Commands in a list stand in quotes."""
    return ", ".join(f'"{_escaped(word)}"' if word.startswith("|") else word for word in value.split(", "))


def send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        for to, sender in recipients():
            client.sendmail(sender, to, MESSAGE)


def outcomes(log: str) -> dict[str, list[str]]:
    """By the address that the client gave: what became of it, with everything of the moment taken out."""
    found: dict[str, list[str]] = {}
    pattern = r"/(?:local|pipe|error|qmgr|smtp)\[\d+\]: \w+: to=<(.*?)>,(?: orig_to=<(.*?)>,)? relay=([^,]+), (.*)"
    for line in log.splitlines():
        match = re.search(pattern, line)
        if match is None:
            continue
        to, original, relay, rest = match.groups()
        code, text = re.findall(r"dsn=(\S+), status=(.*)", rest)[0]
        text = re.sub(r"forwarded as \w+", "forwarded as ID", text)
        found.setdefault(original or to, []).append(f"{to} {relay} {code} {text[:1500]}")
    return {key: sorted(set(values)) for key, values in found.items()}


def plain(content: bytes) -> str:
    """What a program was given, without ids and dates."""
    content = re.sub(rb"(?m)^(From \S+ ) .*?(\r?)$", rb"\1\2", content)
    content = re.sub(rb"\bid [0-9A-Za-z]+", b"id ID", content)
    content = re.sub(rb"\w{3}, +\d+ \w{3} \d{4} [0-9:]+ [+-]\d{4} \(\w+\)", b"DATE", content)
    content = b"".join(sorted(re.split(rb"(?m)^(?=From )", content)))  # one may overtake another
    return content.decode(errors="backslashreplace")


def reports(mailbox: Path) -> list[str]:
    """What the sender was told of each recipient."""
    found = []
    if not mailbox.exists():
        return found
    for text in re.split(r"(?m)^(?=From MAILER-DAEMON )", mailbox.read_text(errors="replace")):
        for part in email.message_from_string(text.partition("\n")[2]).walk():
            if part.get_content_type() == "message/delivery-status":
                fields = [str(field) for field in part.get_payload()[1:]]  # type: ignore[index]
                found += [re.sub(r"\n[ \t]+", " ", field).strip() for field in fields]
    return sorted(found)


def exchange(port: int, log: Callable[[], str], out: Path) -> str:
    send(port)
    text = ""

    def settled() -> bool:
        nonlocal text
        text = log()
        queued = set(re.findall(r"/qmgr\[\d+\]: (\w+): from=", text))
        gone = set(re.findall(r": (\w+): removed", text))
        late = set(re.findall(r": (\w+): to=.* status=deferred", text))
        return len(queued) >= len(recipients()) and queued <= gone | late

    until(settled, 120, "all is delivered")
    return text


def at_postfix(base: Path, main: dict[str, str], master: str) -> str:
    real = RealPostfix(base, **main)
    with (real.etc / "master.cf").open("a") as file:
        file.write(master)
    subprocess.run(["postalias", "-c", real.etc, main["alias_maps"].partition(",")[0]], check=True, timeout=30)
    real.start()
    try:
        return exchange(real.port, real.log, base)
    finally:
        real.stop()


def at_postwarden(base: Path, main: dict[str, str], master: str) -> str:
    with running(Gateway(base, master_cf=MASTER_CF + master.replace("{", "{{").replace("}", "}}"), **main)) as gateway:
        return exchange(gateway.port, gateway.log, base)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, users: None) -> dict[str, tuple[object, ...]]:
    top = tmp_path_factory.mktemp("programs")
    found: dict[str, tuple[object, ...]] = {}
    for who, at in (("postfix", at_postfix), ("postwarden", at_postwarden)):
        base = top / f"at-{who}"
        main, master = furnish(base)
        (top / who).mkdir()
        log = at(top / who, main, master)

        def same(text: str, base: Path = base, who: str = who) -> str:
            text = text.replace(str(base), "DIR").replace(str(top / who / "postfix-queue"), "QUEUE")
            text = text.replace(str(top / who / "queue"), "QUEUE")
            text = re.sub(r"\d+\.P\d+\.", "UNIQUE.", text)
            return text.replace(str(top / who / "postfix"), "ETC").replace(str(top / who / "etc"), "ETC")

        logs = {k: [same(v) for v in values] for k, values in outcomes(log).items()}
        out = {path.name: same(plain(path.read_bytes())) for path in sorted((base / "out").iterdir())}
        boxes = {
            path.name: path.read_bytes().count(b"\nSubject: hi\n")
            for path in (base / "spool").iterdir()
            if path.name != B
        }
        found[who] = (logs, out, boxes, [same(report) for report in reports(base / "spool" / B)])
    return found


@pytest.mark.parametrize("what", range(4), ids=["log", "programs", "mailboxes", "reports"])
def test_the_same_as_postfix(both: dict[str, tuple[object, ...]], what: int) -> None:
    assert both["postwarden"][what] == both["postfix"][what]
