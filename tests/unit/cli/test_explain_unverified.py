"""explain of sessions whose addresses are verified: what the cache on disk knows is told, and no probe is sent."""

import json
import time
from pathlib import Path

import pytest

from postwarden.cli import explain
from postwarden.cli.explaining.advice import cure
from postwarden.mail.decision import BUILT_IN, Rule
from postwarden.verify import file
from postwarden.verify.cache import Known

MAIN_CF = """\
compatibility_level = 3.6
myhostname = mx.here.example
mydestination =
data_directory = {data}
relay_domains = inside.example
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unverified_recipient
unverified_recipient_reject_code = 550
"""
NOBODY = "host mx.inside.example[192.0.2.9] said: 550 5.1.1 no such user (in reply to RCPT TO command)"
DAY = 86400


class Place:
    def __init__(self, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.etc, self.data = base / "etc", base / "data"
        self._capsys = capsys
        self.etc.mkdir()
        self.data.mkdir()
        self.cache = self.data / "verify_cache.sqlite"
        (self.etc / "master.cf").write_text("smtp inet n - n - - smtpd\nsmtp unix - - n - - smtp\n")
        self.configure()

    def configure(self, more: str = "") -> None:
        (self.etc / "main.cf").write_text(MAIN_CF.format(data=self.data) + more)

    def keep(self, **known: tuple[str, str, int]) -> None:
        """By user: status, text, age in seconds."""
        now = time.time()
        rows = {f"{user}@inside.example": Known(status, text, now - age) for user, (status, text, age) in known.items()}
        file.write(str(self.cache), rows)

    def way(self, address: str) -> list[str]:
        """What is said of its probes."""
        explain.main("explain", [str(self.etc), "--offline", address])
        said = self._capsys.readouterr().out.splitlines()
        return [line.strip() for line in said if "address probes" in line]

    def ask(self, user: str, *words: str) -> str:
        words = ("--client", "192.0.2.7", "--from", "joe@far.example", "--to", f"{user}@inside.example", *words)
        explain.main("explain", [str(self.etc), "--offline", *words])
        return self._capsys.readouterr().out


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capsys)


def test_an_address_that_was_taken(place: Place) -> None:
    place.keep(ann=("ok", "250 2.1.5 Ok", 100))
    before = place.cache.read_bytes()
    said = place.ask("ann")
    assert place.cache.read_bytes() == before
    assert said.startswith("accepted: 250") and "knows of ann@inside.example: ok, since " in said
    assert "asked for again" not in said


def test_an_address_that_was_refused(place: Place) -> None:
    place.keep(nobody=("bounce", NOBODY, 100))
    refusal, by, cure, *facts = place.ask("nobody").splitlines()
    assert refusal.startswith("RCPT TO:<nobody@inside.example> is refused: 550 5.1.1") and refusal.endswith(NOBODY)
    assert by == f"  by reject_unverified_recipient of smtpd_recipient_restrictions, {place.etc}/main.cf:7"
    assert "the server that the recipient's mail goes to has to take the address" in cure
    assert f"unverified_recipient_reject_code = 550 ({place.etc}/main.cf:8)" in facts[0]
    assert "bounce, since" in facts[1] and facts[2] == ""
    assert "the first question that comes after " in facts[1]
    place.keep(nobody=("bounce", NOBODY, DAY / 2))
    assert "the first question that comes has it asked for again (address_verify_negative_refresh_time)" in place.ask(
        "nobody"
    )


def test_what_is_not_known_depends_on_a_server_that_is_not_asked(place: Place) -> None:
    place.keep(old=("ok", "250 2.1.5 Ok", 32 * DAY))
    for user, knows in (("new", "nothing yet"), ("old", "nothing any more")):
        headline, _, depends, *facts = place.ask(user).splitlines()
        assert headline.startswith(
            f"RCPT TO:<{user}@inside.example> depends, and is put off while nothing is known: 450 4.1.1"
        )
        fact = next(line for line in facts if "knows of" in line)
        assert depends == "  it depends: the gateway asks the address's own server, which explain does not"
        assert knows in fact and fact.endswith("the gateway sends a probe, and waits 6 s for it at most")
    place.configure("address_verify_poll_count = 1\n")
    assert "sends a probe, and does not wait for it" in place.ask("new")


def test_a_server_that_could_not_be_asked(place: Place) -> None:
    place.keep(ann=("defer", "connect to mx.inside.example[192.0.2.9]:25: Connection refused", 100))
    _, _, unknown, *_ = place.ask("ann").splitlines()
    assert unknown.startswith("  it could not be found out")


def test_what_decided_is_named_as_it_was_known(place: Place) -> None:
    place.configure("unverified_recipient_tempfail_action = defer\n")
    place.keep(
        off=("defer", "connect to mx.inside.example[192.0.2.9]:25: Connection refused", 100),
        grey=("defer", "host mx.inside.example[192.0.2.9] said: 450 4.2.0 Greylisted, see x", 100),
        local=("bounce", 'unknown user: "local"', 100),
        nobody=("bounce", NOBODY, 100),
    )
    for user in ("off", "grey", "new"):
        said = place.ask(user)
        assert f"  unverified_recipient_tempfail_action = defer ({place.etc}/main.cf:9)" in said
        assert "  unverified_recipient_defer_code = 450 (its default)" in said and "reject_code" not in said
    assert "address_verify_poll_count = 3 (its default)" in place.ask("new")
    assert "  it could not be found out: the other server can't be reached: " in place.ask("off")
    assert "(greylisting): nothing: it is tried again" in place.ask("grey")
    said = place.ask("local")
    assert "  to change it: no user, alias or mailbox of this machine has that name: correct the address" in said
    assert "unverified_recipient_reject_code = 550" in said and "defer_code" not in said
    assert "has to take the address" in place.ask("nobody") and "has to take the address" not in said


@pytest.mark.parametrize(
    ("known", "helps"),
    [
        ("todo Address verification in progress", "raise address_verify_poll_count or address_verify_poll_delay"),
        ("fail", "says why nobody could be asked"),
        ("defer host x[192.0.2.1] said: 450 odd", "has to take the address"),
        ('bounce unknown user: "ann"', "add the user or an alias"),
        ("", "has to take the address"),
    ],
)
def test_what_helps_those_who_were_refused(known: str, helps: str) -> None:
    rule = Rule("reject_unverified_recipient", "", BUILT_IN)
    assert helps in cure(rule, "192.0.2.7", "its default", "here.example", known)


def test_without_a_file_and_with_one_that_is_damaged(place: Place) -> None:
    assert "nothing yet" in place.ask("ann")
    place.cache.write_bytes(b"no database" * 1000)
    assert f"{place.cache} can't be read: file is not a database" in place.ask("ann")
    place.configure("address_verify_map =\n")
    assert "only the memory of the running gateway knows (address_verify_map)" in place.ask("ann")


def test_values(place: Place) -> None:
    place.keep(nobody=("bounce", NOBODY, 100))
    values = json.loads(place.ask("nobody", "-j"))
    (asked,) = [one for one in values["exchanges"][-1]["asked"] if one["decided"]]
    assert asked["restriction"] == "reject_unverified_recipient" and any("bounce, since" in x for x in asked["facts"])


def test_probes_that_go_another_way(place: Place) -> None:
    assert place.way("ann@inside.example") == []
    place.configure(
        "relayhost = [relay.example]\naddress_verify_relayhost =\n"
        "transport_maps = inline:{inside.example=smtp:[mail.inside]}\n"
        "address_verify_transport_maps = inline:{inside.example=smtp:[probe.inside]:2525}\n"
    )
    (way,) = place.way("ann@inside.example")
    assert way.startswith("address probes go by smtp:[probe.inside]:2525, by address_verify_transport_maps: inline:")
    assert way.endswith(f"({place.etc}/main.cf:12)")
    assert place.way("joe@far.example") == [
        f"address probes go by smtp:far.example, by address_verify_relayhost = (empty) ({place.etc}/main.cf:10)"
    ]
    place.configure("address_verify_relay_transport = discard:\n")
    (way,) = place.way("ann@inside.example")
    assert "by address_verify_relay_transport" in way and way.endswith(f"({place.etc}/main.cf:9)")
    assert place.way("joe@far.example") == []


def test_probes_while_a_table_can_not_answer(place: Place) -> None:
    place.configure("address_verify_transport_maps = fail:down\n")
    (way,) = place.way("ann@inside.example")
    assert way.endswith("address probes fail while the table can't answer")
