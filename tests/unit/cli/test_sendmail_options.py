import pytest

from postwarden.cli.sendmail_options import Options, check, parse
from postwarden.cli.tool import Misuse, Refusal


def read(*words: str, mode: str = "enqueue") -> tuple[Options, list[str]]:
    warnings: list[str] = []
    found = parse(list(words), mode, warnings.append)
    check(found)
    return found, warnings


def test_what_a_mail_program_says() -> None:
    found, warnings = read("-i", "-oi", "-f", "me@example.com", "-FMe Myself", "-t", "-N", "success,delay", "-Rhdrs",
                           "-V", "abc", "-B", "8BITMIME", "-G", "--", "-x", "you")  # fmt: skip
    assert found == Options(
        sender="me@example.com", full_name="Me Myself", extract=True, notify=10, ret="HDRS", envid="abc",
        eight_bit=True, remote=True, whole=True, recipients=["-x", "you"],
    )  # fmt: skip
    assert warnings == []


def test_options_end_at_the_first_word() -> None:
    assert read("you", "-f", "me")[0] == Options(recipients=["you", "-f", "me"])


def test_the_last_sender_counts() -> None:
    assert read("-r", "a", "-f", "b")[0].sender == "b"


@pytest.mark.parametrize(
    "words", ["-Am", "-Ac", "-A x", "-L label", "-m", "-U", "-O a=b", "-o7", "-o8", "-om", "-oZ", "-h 3", "-em", "-e m",
              "-p x", "-c", "-x", "-oA/etc/aliases"]
)  # fmt: skip
def test_ignored(words: str) -> None:
    found, warnings = read(*words.split(), "you")
    assert found.mode == "enqueue"
    assert found.recipients == ["you"]
    assert warnings == []


@pytest.mark.parametrize(
    ("words", "mode"),
    [("-bm", "enqueue"), ("-bp", "mailq"), ("-bs", "smtp"), ("-bi", "aliases"), ("-I", "aliases"), ("-bd", "daemon"),
     ("-bl", "daemon"), ("-bh", "nothing"), ("-bH", "nothing"), ("-q", "flush"), ("-bp -q", "flush"), ("-iq", "")],
)  # fmt: skip
def test_modes(words: str, mode: str) -> None:
    if not mode:
        with pytest.raises(Misuse):
            read(*words.split())
        return
    assert read(*words.split())[0].mode == mode


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("-bz", "unsupported: -bz"),
        ("-bt", "unsupported: -bt"),
        ("-Xf", "unsupported: -Xf"),
        ("-n", "-n option not supported"),
        ("-B BOGUS", "-B option needs 8BITMIME or 7BIT"),
        ("-oA", "-oA requires pathname"),
        ("-qR", "specify: -qRsitename"),
        ("-qI", "specify: -qIqueueid"),
        ("-qSx", "-qS is not implemented"),
        ("-qX", "-qX is not implemented"),
        ("-q -t", "-t can be used only in delivery mode"),
        ("-bp -t", "-t can be used only in delivery mode"),
        ("-bp -qRx", "-qR can be used only in delivery mode"),
        ("-bp -qIx", "-qI can be used only in delivery mode"),
        ("-bv -t", "-t option cannot be used with -bv"),
        ("-bv -N never", "-N option cannot be used with -bv"),
        ("-bv -R full", "-R option cannot be used with -bv"),
        ("-bv -v", "-v option cannot be used with -bv"),
    ],
)
def test_refused(words: str, why: str) -> None:
    with pytest.raises(Refusal) as caught:
        read(*words.split())
    assert str(caught.value) == why


@pytest.mark.parametrize(("words", "why"), [("-Z", "invalid option -- 'Z'"), ("-C", "an argument -- 'C'")])
def test_misuse(words: str, why: str) -> None:
    with pytest.raises(Misuse, match=why):
        read(words)


@pytest.mark.parametrize(
    ("words", "warnings"),
    [
        (["-N", "bogus"], ['unknown DSN NOTIFY command value "bogus" in "bogus"', "bad -N option value -- ignored"]),
        (["-N", "never,success"], ["bad -N option value -- ignored"]),
        (["-R", "some"], ["bad -R option value -- ignored"]),
        (["-V", "x" * 101], ["too long -V option value -- ignored"]),
        (["-V", "a\nb"], ["bad syntax in -V option value -- ignored"]),
    ],
)
def test_a_bad_value_is_ignored_with_a_warning(words: list[str], warnings: list[str]) -> None:
    found, said = read(*words, "you")
    assert said == warnings
    assert found == Options(recipients=["you"])


@pytest.mark.parametrize(
    ("words", "verp", "warnings"),
    [
        (["-XV"], "", []),
        (["-XV+="], "+=", []),
        (["-V+="], "+=", ["option -V+= is deprecated with Postfix 2.3; specify -XV+= instead"]),
        (["-i", "-V", "xy"], "", ["option -V is deprecated with Postfix 2.3; specify -XV instead"]),
    ],
)
def test_verp(words: list[str], verp: str, warnings: list[str]) -> None:
    found, said = read(*words)
    assert found.verp == verp
    assert said == warnings


def test_sites_and_queue_ids() -> None:
    assert read("-qRexample.com")[0].site == "example.com"
    assert read("-qIABC")[0].queue_id == "ABC"
    assert read("-q15m")[0].interval
    assert read("-bd", "-q")[1] == ["ignoring -q option in daemon mode"]


@pytest.mark.parametrize(("given", "directory"), [("/etc/x", "/etc/x"), ("/etc/x/main.cf", "/etc/x"), ("main.cf", ".")])
def test_the_configuration_is_a_directory_or_its_main_cf(given: str, directory: str) -> None:
    assert read("-C", given)[0].directory == directory
