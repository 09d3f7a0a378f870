"""Questions, probes and answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postwarden.config.view import view
from postwarden.mail.events import Event
from postwarden.mail.verified import BOUNCE, DEFER, IN_PROGRESS, OK, UNASKED, Verified
from postwarden.testing.clock import VirtualClock
from postwarden.testing.config import settings
from postwarden.verify import file
from postwarden.verify.cache import Known
from postwarden.verify.params import VerifyParams
from postwarden.verify.verifier import Finding, Verifier

GOOD, BAD, LATER = Verified(OK, "250 ok"), Verified(BOUNCE, "550 no"), Verified(DEFER, "450 later")
HOUR, DAY = 3600.0, 86400.0


class World:
    """`probes` are those that were sent, in order."""

    def __init__(self, map_: str = "", **parameters: str) -> None:
        self.clock = VirtualClock()
        self.probes: list[tuple[str, Callable[[Finding], None]]] = []
        self.said: list[str] = []
        self.later: list[Callable[[], None]] = []
        """What was put in the background, where it waits until a test does it."""
        self.background_waits = False
        self.parameters = {"address_verify_map": map_} | parameters
        self.verifier = Verifier(
            self.params(), lambda *both: self.probes.append(both), self.clock, self._background, self._say
        )

    def params(self, **parameters: str) -> VerifyParams:
        return view(VerifyParams, settings(**{**self.parameters, **parameters}))

    def _say(self, event: Event) -> None:
        self.said.append(f"{event.level}: {event}")

    def _background(self, call: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        def both() -> None:
            try:
                value = call()
            except Exception as error:
                done(None, error)
            else:
                done(value, None)

        if self.background_waits:
            self.later.append(both)
        else:
            both()

    def ask(self, address: str) -> list[Verified]:
        answers: list[Verified] = []
        self.verifier.ask(address, answers.append)
        return answers

    def end(self, result: Verified, **more: Any) -> str:
        """The oldest probe is over."""
        address, done = self.probes.pop(0)
        done(Finding(result, **more))
        return address


def test_the_first_question_is_answered_at_once_and_again_when_the_probe_is_back() -> None:
    world = World()
    answers = world.ask("a@x")
    assert answers == [IN_PROGRESS]
    assert world.end(GOOD) == "a@x"
    assert answers == [IN_PROGRESS, GOOD]
    assert world.ask("a@x") == [GOOD]
    assert not world.probes


def test_many_who_ask_share_a_probe() -> None:
    world = World()
    answers = [world.ask("a@x") for _ in range(5)]
    assert len(world.probes) == 1
    world.end(BAD)
    assert answers == [[IN_PROGRESS, BAD]] * 5


def test_too_many_who_ask_for_one_address_are_told_to_come_again() -> None:
    world = World()
    answers = [world.ask("a@x") for _ in range(1001)]
    assert answers[-1] == [Verified(DEFER, "Too many address verification requests")]
    world.end(GOOD)
    assert answers[0] == answers[999] == [IN_PROGRESS, GOOD]


@pytest.mark.parametrize("address", ["", "x" * 2001])
def test_what_is_no_address_is_not_asked_for(address: str) -> None:
    world = World()
    assert world.ask(address) == [UNASKED]
    assert not world.probes


def test_so_many_addresses_may_be_open(tmp_path: Path) -> None:
    world = World(f"btree:{tmp_path}/cache")
    world.background_waits = True
    for n in range(10_000):
        world.ask(f"a{n}@x")
    assert world.ask("b@x") == [Verified(DEFER, "Too many address verification requests")]
    world.later.pop()()
    assert len(world.probes) == 10_000


def test_without_the_negative_cache_who_waits_is_answered_and_the_next_one_probes() -> None:
    world = World(address_verify_negative_cache="no")
    answers = world.ask("a@x")
    world.end(BAD)
    assert answers == [IN_PROGRESS, BAD]
    assert world.ask("a@x") == [IN_PROGRESS]
    assert len(world.probes) == 1


def test_what_is_no_verdict_is_told_and_not_remembered() -> None:
    world = World()
    answers = world.ask("a@x")
    world.end(LATER, lasting=False)
    assert answers == [IN_PROGRESS, LATER]
    assert world.ask("a@x") == [IN_PROGRESS]


def test_what_the_address_became_is_known_too() -> None:
    world = World()
    world.ask("alias@x")
    world.end(BAD, others=(("alias@x", GOOD), ("user@y", BAD)))
    assert world.ask("user@y") == [BAD]
    assert world.ask("alias@x") == [BAD]


def test_an_old_answer_is_given_and_renewed_in_the_background() -> None:
    world = World()
    world.ask("a@x")
    world.end(BAD)
    world.clock.advance(3 * HOUR + 1)
    assert world.ask("a@x") == [BAD]
    assert world.ask("a@x") == [BAD]
    assert len(world.probes) == 1
    world.end(GOOD)
    assert world.ask("a@x") == [GOOD]


def test_a_good_address_stays_good_when_it_is_refused_once() -> None:
    world = World()
    world.ask("a@x")
    world.end(GOOD)
    world.clock.advance(8 * DAY)
    assert world.ask("a@x") == [GOOD]
    world.end(BAD)
    assert world.ask("a@x") == [GOOD]
    assert not world.probes, "asked again at once"
    world.clock.advance(1001)
    assert world.ask("a@x") == [GOOD]
    assert len(world.probes) == 1


def test_who_waits_for_an_expired_address_hears_the_new_verdict() -> None:
    world = World()
    world.ask("a@x")
    world.end(GOOD)
    world.clock.advance(32 * DAY)
    answers = world.ask("a@x")
    world.end(BAD)
    assert answers == [IN_PROGRESS, BAD]


def test_words_of_a_server_can_do_no_harm() -> None:
    world = World()
    answers = world.ask("a@x")
    world.end(Verified(BOUNCE, "550 a\r\n250 b\x1b[0m \udcff"))
    assert answers[-1].text.isprintable()
    answers[-1].text.encode()


def path_of(tmp_path: Path) -> tuple[str, str]:
    return f"btree:{tmp_path}/cache", f"{tmp_path}/cache.sqlite"


def test_a_restart_knows_what_was_known(tmp_path: Path) -> None:
    name, path = path_of(tmp_path)
    world = World(name)
    world.ask("a@x")
    world.end(BAD)
    world.clock.advance(1.0)
    assert [address for address, _ in file.read(path)] == ["a@x"]
    again = World(name)
    assert again.ask("a@x") == [IN_PROGRESS, BAD]
    assert not again.probes
    assert again.said == [f"info: cache {name} full cleanup: retained=1 dropped=0 entries"]


def test_questions_wait_for_the_file(tmp_path: Path) -> None:
    name, path = path_of(tmp_path)
    world = World(name)
    file.write(path, {"known@x": Known(OK, "250 ok", world.clock.now())})
    world.background_waits = True
    known, other = world.ask("known@x"), world.ask("new@x")
    also = world.ask("known@x")
    assert known == other == also == [IN_PROGRESS]
    assert not world.probes
    world.later.pop()()
    assert known == also == [IN_PROGRESS, GOOD]
    assert [address for address, _ in world.probes] == ["new@x"]


@pytest.mark.parametrize("content", [b"rubbish" * 1000])
def test_a_damaged_file_begins_anew(tmp_path: Path, content: bytes) -> None:
    name, path = path_of(tmp_path)
    Path(path).write_bytes(content)
    world = World(name)
    answers = world.ask("a@x")
    assert "damaged" in world.said[0]
    assert world.said[0].startswith("warning")
    world.end(GOOD)
    assert answers[-1] == GOOD
    world.clock.advance(1.0)
    assert [address for address, _ in file.read(path)] == ["a@x"]


def test_a_file_damaged_while_we_run_begins_anew_with_all_that_is_known(tmp_path: Path) -> None:
    name, path = path_of(tmp_path)
    world = World(name)
    world.ask("a@x")
    world.end(GOOD)
    world.clock.advance(1.0)
    for found in tmp_path.iterdir():
        found.write_bytes(b"rubbish" * 1000)
    world.ask("b@x")
    world.end(GOOD)
    world.clock.advance(3.0)
    assert [address for address, _ in file.read(path)] == ["a@x", "b@x"]
    assert sum("is damaged: " in line for line in world.said) == 1


def test_a_file_that_can_not_be_written_costs_one_warning_and_no_answer(tmp_path: Path) -> None:
    home = tmp_path / "later"
    world = World(f"btree:{home}/cache")
    for n in range(3):
        answers = world.ask(f"a{n}@x")
        world.end(GOOD)
        assert answers[-1] == GOOD
        world.clock.advance(70.0)
    warnings = [line for line in world.said if line.startswith("warning")]
    assert len(warnings) == 1
    assert "goes on in memory" in warnings[0]
    home.mkdir()
    world.clock.advance(70.0)
    assert len(file.read(f"{home}/cache.sqlite")) == 3
    assert "in use again" in world.said[-1]


def test_without_a_file_nothing_is_kept_for_it() -> None:
    world = World("")
    for n in range(3):
        world.ask(f"a{n}@x")
        world.end(GOOD)
    assert not world.verifier._cache.changed
    assert not world.said


def test_a_type_without_a_file_is_said_once() -> None:
    world = World("memcache:/etc/postfix/mc.cf")
    world.ask("a@x")
    world.end(GOOD)
    assert world.ask("a@x") == [GOOD]
    assert len(world.said) == 1
    assert "memory only" in world.said[0]


def test_what_has_expired_is_forgotten_and_the_log_says_so(tmp_path: Path) -> None:
    name, path = path_of(tmp_path)
    world = World(name, address_verify_negative_expire_time="1h")
    for address, result in (("a@x", BAD), ("b@x", GOOD)):
        world.ask(address)
        world.end(result)
    world.clock.advance(12 * HOUR + 5)
    assert f"info: cache {name} full cleanup: retained=1 dropped=1 entries" in world.said
    assert [address for address, _ in file.read(path)] == ["b@x"]


def test_no_cleanup_where_the_interval_is_0(tmp_path: Path) -> None:
    world = World(path_of(tmp_path)[0], address_verify_cache_cleanup_interval="0")
    world.ask("a@x")
    world.end(BAD)
    world.clock.advance(10 * DAY)
    assert len(world.said) == 1


def test_a_reload_takes_another_file(tmp_path: Path) -> None:
    name, path = path_of(tmp_path)
    world = World(name)
    world.ask("a@x")
    world.end(GOOD)
    world.clock.advance(1.0)
    world.verifier.configure(world.params(address_verify_map=f"btree:{tmp_path}/other"))
    world.clock.advance(1.0)
    assert [address for address, _ in file.read(f"{tmp_path}/other.sqlite")] == ["a@x"]
    world.verifier.configure(world.params(address_verify_map=""))
    world.ask("b@x")
    world.end(GOOD)
    world.clock.advance(100.0)
    assert world.ask("b@x") == [GOOD]
    assert [address for address, _ in file.read(path)] == ["a@x"]


def test_the_end_writes_what_is_not_written_yet(tmp_path: Path) -> None:
    name, path = path_of(tmp_path)
    world = World(name)
    world.verifier.close()
    assert not Path(path).exists()
    world.ask("a@x")
    world.end(GOOD)
    world.verifier.close()
    assert [address for address, _ in file.read(path)] == ["a@x"]


def test_the_end_writes_what_is_being_written(tmp_path: Path) -> None:
    name, path = path_of(tmp_path)
    world = World(name)
    world.ask("a@x")
    world.background_waits = True
    world.end(GOOD)
    world.clock.advance(2)
    assert world.later
    world.ask("b@x")
    world.end(BAD)
    world.verifier.close()
    assert sorted(address for address, _ in file.read(path)) == ["a@x", "b@x"]


def test_the_end_comes_although_nothing_can_be_written(tmp_path: Path) -> None:
    world = World(f"btree:{tmp_path}/nowhere/cache")
    world.ask("a@x")
    world.end(GOOD)
    world.verifier.close()
    assert world.said[-1].startswith("warning")


def test_a_reload_takes_the_new_times() -> None:
    world = World()
    world.ask("a@x")
    world.end(BAD)
    world.verifier.configure(world.params(address_verify_negative_expire_time="10s"))
    world.clock.advance(11)
    assert world.ask("a@x") == [IN_PROGRESS]


def test_a_reload_forgets_what_was_taken_out_of_the_file(tmp_path: Path) -> None:
    path = f"{tmp_path}/cache"
    world = World(f"btree:{path}")
    for address in ("a@x", "b@x"):
        world.ask(address)
        world.end(BAD)
    world.clock.advance(5.0)
    assert file.forget(f"{path}.sqlite", ["a@x", "nobody@x"]) == 1
    assert world.ask("a@x") == [BAD]
    world.verifier.configure(world.params())
    assert world.ask("b@x") == [BAD]
    assert world.ask("a@x") == [IN_PROGRESS]


def test_a_reload_keeps_what_is_not_in_the_file_yet(tmp_path: Path) -> None:
    path = f"{tmp_path}/cache"
    world = World(f"btree:{path}")
    world.ask("before@x")
    world.end(BAD)
    world.clock.advance(5.0)
    world.ask("unwritten@x")
    world.end(GOOD)
    world.background_waits = True
    world.verifier.configure(world.params())
    (look,) = world.later
    world.later = []
    world.ask("during@x")
    world.end(GOOD)
    (tmp_path / "cache.sqlite").unlink()
    look()
    assert world.ask("unwritten@x") == world.ask("during@x") == [GOOD]
    assert world.ask("before@x") == [IN_PROGRESS]


def test_a_reload_with_a_file_that_can_not_be_read_forgets_nothing(tmp_path: Path) -> None:
    path = f"{tmp_path}/cache"
    world = World(f"btree:{path}")
    world.ask("a@x")
    world.end(BAD)
    world.clock.advance(5.0)
    Path(f"{path}.sqlite").write_bytes(b"this is no database" * 100)
    world.verifier.configure(world.params())
    assert world.ask("a@x") == [BAD]
