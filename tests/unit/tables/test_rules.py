from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.lines import logical_lines
from postwarden.mail.decision import Origin
from postwarden.tables.cidr import CidrTable, cidr_rules, plan
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables, open_table, warnings
from postwarden.tables.posix_regex import EXTENDED, ICASE, Regex, RegexError
from postwarden.tables.regexp import regexp_rules
from postwarden.tables.rules import run
from postwarden.tables.table import TableError
from postwarden.testing.reception import Reception


def cidr(text: str, key: str) -> str | None:
    hit = run(cidr_rules(logical_lines(text.encode(), "t")), key)
    return hit[0].value if hit else None


def regexp(text: str, key: str) -> str | None:
    rules = ", ".join(f"{{{line}}}" for line in text.splitlines())
    found = open_table(f"regexp:{{{rules}}}", "/", Origin("main.cf", 3, "")).get(key)
    return found.value if found else None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("10.1.1.1", "ten"),
        ("2001:db8::1", "six"),
        ("2001:0DB8:0::1", "six"),
        ("192.168.1.1", "one"),
        ("192.168.1.2", "rest"),
        ("1.2.3.4", None),
        ("9.9.9.9", "rest"),
        ("::1", None),
        ("::ffff:10.1.1.1", None),
        ("010.1.1.1", None),
        ("host.example.com", None),
        ("", None),
    ],
)
def test_cidr(key: str, value: str | None) -> None:
    text = "10.0.0.0/8 ten\n[2001:db8::]/32 six\nif 192.168.0.0/16\n192.168.1.1 one\nendif\n!1.2.3.0/24 rest\n"
    assert cidr(text, key) == value


def test_the_first_rule_counts_with_and_without_a_plan() -> None:
    text = "10.0.0.0/8 a\n10.1.0.0/16 b\n0.0.0.0/0 c\n10.1.0.0/16 d\n"
    steps = cidr_rules(logical_lines(text.encode(), "t"))
    quick = plan(steps)
    assert quick is not None
    for key, number in (("10.1.2.3", 10 << 24 | 1 << 16), ("11.0.0.0", 11 << 24)):
        hit, step = run(steps, key), quick.first((4, number))
        assert hit is not None
        assert step is hit[0]
    assert plan(cidr_rules([Origin("t", 1, "!10.0.0.0/8 x")])) is None


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1/8 x", "10.0.0.0/33 x", "foo x", "10.0.0.0/8", "if 10.0.0.0/8\n1.1.1.1 x", "endif",
        "10.0.0/24 x", "[::1 x", "10.0.0.0/ x", "endif x", "!",
    ],
)  # fmt: skip
def test_bad_cidr_rules_name_file_and_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cidr("1.1.1.0/24 ok\n" + text + "\n", "")
    assert str(caught.value).startswith("t:2: ") or text.startswith(("if", "endif x"))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("/^(a+)(b)?@/x no", "aab@", None),
        ("/^(a+)(c)?@/ got $1-${2}-$(1)-$$", "AA@x", "got AA--AA-$"),
        ("/a/i x", "A", None),
        ("/a/i x", "a", "x"),
        ("!/a/ x", "b", "x"),
        ("!/a/ x", "A", None),
        ("!!/a/ x", "a", "x"),
        ("|a/b| x", "a/b", "x"),
        (r"/a\/b/ x", "a/b", "x"),
        ("if /a/\n/b/ ab\nendif\n/b/ b", "ab", "ab"),
        ("if /a/\n/b/ ab\nendif\n/b/ b", "b", "b"),
        ("if !/a/\n/./ x\nendif", "a", None),
        ("if/a/\n/./ x\nendif", "a", "x"),
        ("/(x|xy)/ [$1]", "xyz", "[xy]"),
        ("/^[[:digit:]]+$/ number", "123", "number"),
        ("/(ä)/ $1", "ä", "ä"),
    ],
)
def test_regexp(text: str, key: str, value: str | None) -> None:
    assert regexp(text, key) == value


@pytest.mark.parametrize(
    "text",
    [
        "/a", "a b", "/(/ x", "/a/k b", "/a/ $1", "/(a)/ $2", "!/(a)/ $1", "if /a/\n/b/ c", "endif",
        "/a/ $", "/a/ $x", "/(a)/ $1x", "/(a)/ ${1", "/a{1000000}/ x",
    ],
)  # fmt: skip
def test_bad_regexp_rules_name_file_and_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        regexp_rules(logical_lines(text.encode(), "t"))
    assert str(caught.value).startswith("t:1: ")


def test_rules_in_the_name_point_to_main_cf() -> None:
    table = open_table("cidr:{{10.0.0.0/8 ten}}", "/", Origin("main.cf", 3, ""))
    assert isinstance(table, CidrTable)
    found = table.get("10.0.0.1")
    assert found is not None
    assert str(found.origin) == "main.cf:3"
    assert not table.fixed
    with pytest.raises(ConfigError, match=r"^main\.cf:3"):
        open_table("cidr:{10.0.0.0/8 ten}", "/", Origin("main.cf", 3, ""))


@pytest.mark.parametrize(
    ("expression", "groups"),
    [
        ("a", 0),
        ("(a)(b(c))", 3),
        (r"\(a\)(b)", 1),
        ("[(](a)", 1),
        ("[]()](a)", 1),
        ("[^]()](a)", 1),
        ("[[:alpha:](](a)", 1),
    ],
)
def test_groups_are_counted_as_the_library_counts_them(expression: str, groups: int) -> None:
    regex = Regex(expression, EXTENDED)
    assert regex.groups == groups
    assert Regex(r"\(a\)(b)", 0).groups == 1


def test_the_longest_match_counts() -> None:
    match = Regex("a|ab", EXTENDED | ICASE).match("xAB")
    assert match == ("AB",)
    assert Regex("b", EXTENDED).match("a", negated=True) == ("a",)


def test_a_bad_expression() -> None:
    for expression in ("(", "a\0b"):
        with pytest.raises(RegexError):
            Regex(expression, EXTENDED)


@pytest.mark.parametrize(
    ("kind", "text", "put_off", "answered"),
    [
        ("regexp", "/^a$/ A\n/(/ x\n/./ B", ["b"], {"a": "A"}),
        ("regexp", "/(a)/ $2\n/./ B", ["a"], {"b": "B"}),
        ("regexp", "if /(/\n/a/ A\nendif\n/./ B", ["a", "b"], {}),
        ("regexp", "if /x/\n/(/ A\nendif\n/./ B", ["x"], {"b": "B"}),
        ("regexp", "if /x/ more\n/x/ A\n/b/ C\nendif more\n/./ B", [], {"x": "A", "b": "B"}),
        ("regexp", "endif\n/b/ B\nif /x/\n/./ X", [], {"b": "B", "x": "X"}),
        ("cidr", "10.1.2.3/8 x\n0.0.0.0/0 y", ["10.9.9.9"], {"11.1.1.1": "y"}),
        ("cidr", "10.0.0.0/8\n0.0.0.0/0 y", ["10.9.9.9"], {"11.1.1.1": "y"}),
        ("cidr", "11.0.0.0/8 z\n10.0.0.300 x\n0.0.0.0/0 y", ["10.9.9.9", "::1"], {"11.1.1.1": "z", "no": None}),
        ("cidr", "if 11.0.0.0/8\n10.0.0.300 x\nendif\n0.0.0.0/0 y", ["11.9.9.9"], {"10.1.1.1": "y"}),
    ],
)
def test_what_a_bad_rule_would_decide_is_put_off(
    tmp_path: Path, kind: str, text: str, put_off: list[str], answered: dict[str, str | None]
) -> None:
    (tmp_path / "rules").write_text(text)
    table = open_table(f"{kind}:{tmp_path}/rules", "/")
    for key in put_off:
        with pytest.raises(TableError, match=rf"^{kind}:{tmp_path}/rules: {tmp_path}/rules:[12]: "):
            table.get(key)
    for key, value in answered.items():
        found = table.get(key)
        assert (found and found.value) == value
    assert warnings(table)


@pytest.mark.parametrize("kind", ["regexp", "pcre"])
def test_a_pattern_without_text_answers_an_empty_one(tmp_path: Path, kind: str) -> None:
    (tmp_path / "rules").write_text("/^a$/\n!/b/  \n/c/ C\n")
    table = open_table(f"{kind}:{tmp_path}/rules", "/")
    assert [(found := table.get(key)) and found.value for key in ("a", "x", "bc", "b")] == ["", "", "C", None]
    assert [str(problem) for problem in warnings(table)] == [
        f"warning: {tmp_path}/rules:{line}: no replacement text: using empty string" for line in (1, 2)
    ]
    with pytest.raises(TableError, match="empty string result is not allowed"):
        Maps([table]).find("a")


def test_a_pattern_without_text_is_a_member_of_a_list() -> None:
    made = Reception(relay_domains="regexp:{{/^relay[.]example$$/}}", mynetworks="regexp:{{/^192[.]0[.]2[.]10$$/}}")
    peer = made.connect("192.0.2.10")
    peer.say("HELO x", "MAIL FROM:<a@b.example>")
    assert peer.say("RCPT TO:<x@other.example>") == "250 2.1.5 Ok\r\n"
    peer = made.connect("192.0.2.11")
    peer.say("HELO x", "MAIL FROM:<a@b.example>")
    assert peer.say("RCPT TO:<x@relay.example>") == "250 2.1.5 Ok\r\n"
    assert peer.say("RCPT TO:<x@other.example>").startswith("454 4.7.1 ")


def test_a_pattern_without_text_is_no_action() -> None:
    made = Reception(smtpd_client_restrictions="check_client_access regexp:{{/^192/}}", smtpd_delay_reject="no")
    assert made.connect("192.0.2.10").hear().endswith("Client host rejected: Server configuration error\r\n")
    assert made.connect("127.0.0.1").hear().startswith("220 ")


def test_a_new_bad_rule_keeps_the_old_text(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("/(/ x\n/a/ A\n")
    tables = Tables("/")
    table = tables.table(f"regexp:{rules}")
    rules.write_text("/b/ B\n/a/ A\n/)(/ C\n")
    (problem,) = tables.refresh()
    assert str(problem).startswith(f"error: {rules}:3: ")
    with pytest.raises(TableError):
        table.get("b")
    rules.write_text("/b/ B\n/a/ A\n/(/ x\n")
    (problem,) = tables.refresh()
    assert str(problem).startswith(f"warning: {rules}:3: ")
    assert table.get("b") is not None
