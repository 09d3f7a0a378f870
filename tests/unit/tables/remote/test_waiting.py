import asyncio
import contextlib
from collections.abc import Callable

import pytest

from postwarden.mail.decision import Pending, settle
from postwarden.tables.combined import leaves
from postwarden.tables.remote.waiting import KEEP_SECONDS, OLD_SECONDS, Waiting, WaitingTable
from postwarden.tables.table import Found, TableError
from postwarden.testing.asking import AskingOnDemand
from postwarden.testing.clock import VirtualClock


class Far:
    """A table somewhere else."""

    name = "far:it"
    fixed = True
    slow = True

    def __init__(self, **values: str) -> None:
        self.values = values
        self.asked: list[str] = []
        self.down = False
        self.old = False

    def get(self, key: str) -> Found | None:
        self.asked.append(key)
        if self.down:
            raise TableError(self.name, "down")
        value = self.values.get(key)
        return None if value is None else Found(value, key, self.name)

    def stale(self) -> bool:
        return self.old

    def reload(self) -> None:
        self.old = False


class Scene:
    def __init__(self, seconds: float = 0.0, **values: str) -> None:
        self.clock = VirtualClock()
        self.asking = AskingOnDemand(self.clock, seconds)
        self.said: list[str] = []
        self.waiting = Waiting(self.asking, self.said.append)
        self.far = Far(**values)
        self.table = self.waiting.wrap(self.far)

    def get(self, key: str) -> str | None:
        """In a turn of its own."""
        self.clock.run()
        found = self.table.get(key)
        return None if found is None else found.value

    def get_both(self, *keys: str) -> None:
        self.clock.run()
        for key in keys:
            self.table.get(key)

    def settle(self, decide: Callable[[], object], rounds: int = 200) -> object:
        def evaluate() -> object:
            self.clock.run()
            return decide()

        return asyncio.run(settle(evaluate, rounds))


def test_an_answer_is_fetched_and_then_at_hand() -> None:
    scene = Scene(a="1")
    with pytest.raises(Pending):
        scene.get("a")
    assert scene.asking.run() == 1
    assert scene.get("a") == "1"
    assert scene.far.asked == ["a"]


def test_what_is_not_there_is_remembered_too() -> None:
    scene = Scene()
    assert scene.settle(lambda: scene.table.get("a")) is None
    assert scene.get("a") is None
    assert scene.far.asked == ["a"]


def test_an_answer_that_nobody_uses_is_forgotten() -> None:
    scene = Scene(a="1")
    scene.settle(lambda: scene.table.get("a"))
    scene.clock.advance(KEEP_SECONDS * 2)
    with pytest.raises(Pending):
        scene.get("a")


def test_what_a_search_under_way_knows_of_old_is_given_and_asked_for_again() -> None:
    scene = Scene(a="1")
    scene.settle(lambda: scene.table.get("a"))
    with pytest.raises(Pending):
        scene.get_both("a", "b")
    scene.far.values["a"] = "2"
    scene.clock.advance(KEEP_SECONDS * 2)
    assert scene.get("a") == "1"
    assert len(scene.asking.asked) == 2
    scene.clock.advance(OLD_SECONDS)
    assert scene.get("a") == "1"
    assert scene.asking.run() == 2
    assert scene.get("a") == "2"


def test_asking_again_takes_nothing_from_a_search_under_way() -> None:
    scene = Scene(a="1")
    other = Far()
    other.name = "far:other"
    table = scene.waiting.wrap(other)
    scene.settle(lambda: scene.table.get("a"))
    scene.get("a")
    with pytest.raises(Pending):
        table.get("b")
    scene.clock.advance(KEEP_SECONDS + OLD_SECONDS)
    scene.get("a")
    assert scene.asking.run("far:it") == 1
    scene.clock.advance(KEEP_SECONDS * 2)
    assert scene.get("a") == "1"


def test_what_was_used_in_an_evaluation_can_be_used_again_in_it() -> None:
    """Each look-up outlives its freshness, and each answer is asked for twice."""
    scene = Scene(seconds=KEEP_SECONDS * 1.5, a="1", b="2", c="3")

    def search() -> str:
        return "".join(found.value for key in "aabbcc" if (found := scene.table.get(key)) is not None)

    assert scene.settle(search, rounds=6) == "112233"


def test_the_same_key_is_asked_for_once_at_a_time() -> None:
    scene = Scene(a="1")
    for _ in range(3):
        with pytest.raises(Pending):
            scene.get("a")
    assert scene.asking.run() == 1


def test_a_search_of_many_slow_keys_comes_to_its_end() -> None:
    """Each look-up takes longer than an answer is fresh: what was found before must still be there."""
    scene = Scene(seconds=2 * KEEP_SECONDS, **{str(number): "x" for number in range(20)})

    def search() -> list[str]:
        return [found.value for number in range(20) if (found := scene.table.get(str(number))) is not None]

    assert scene.settle(search, rounds=25) == ["x"] * 20
    assert len(scene.far.asked) > 20  # some of them again, beside the search
    assert len(scene.far.asked) < 100


def test_errors_that_somebody_swallows_let_a_search_end() -> None:
    scene = Scene(seconds=10.0, b="1")
    down = Far()
    down.down = True
    other = scene.waiting.wrap(down)

    def search() -> str:
        for key in ("a", "b", "c"):
            with contextlib.suppress(TableError):
                other.get(key)
            scene.table.get(key)
        return "over"

    assert scene.settle(search, rounds=20) == "over"


def test_a_table_that_is_down_recovers() -> None:
    scene = Scene(a="1")
    scene.far.down = True
    with pytest.raises(TableError, match="far:it: down"):
        scene.settle(lambda: scene.table.get("a"))
    scene.far.down = False
    scene.clock.advance(5.0)
    found = scene.settle(lambda: scene.table.get("a"))
    assert isinstance(found, Found)


def test_the_log_hears_of_a_table_that_is_down_and_that_it_is_up_again() -> None:
    scene = Scene(a="1")
    scene.far.down = True
    for _ in range(5):
        with pytest.raises(TableError):
            scene.settle(lambda: scene.table.get("a"))
        scene.clock.advance(5.0)
    assert scene.said == ["warning: table far:it lookup error: down"]
    scene.clock.advance(10.0)
    with pytest.raises(TableError):
        scene.settle(lambda: scene.table.get("a"))
    assert len(scene.said) == 2
    scene.far.down = False
    scene.clock.advance(5.0)
    scene.settle(lambda: scene.table.get("a"))
    scene.settle(lambda: scene.table.get("b"))
    assert scene.said[2:] == ["table far:it answers again"]


def test_any_other_error_is_a_temporary_one() -> None:
    scene = Scene()
    scene.far.get = lambda key: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(TableError, match="ZeroDivisionError"):
        scene.settle(lambda: scene.table.get("a"))


def test_a_table_that_was_read_again_is_asked_again() -> None:
    scene = Scene(a="1")
    scene.settle(lambda: scene.table.get("a"))
    scene.far.old, scene.far.values["a"] = True, "2"
    assert scene.table.stale()
    scene.table.reload()
    assert not scene.table.stale()
    found = scene.settle(lambda: scene.table.get("a"))
    assert isinstance(found, Found)
    assert found.value == "2"


def test_a_table_that_is_not_slow_now_answers_at_once() -> None:
    scene = Scene(a="1")
    scene.far.slow = False
    assert scene.get("a") == "1"
    assert not scene.asking.asked


def test_other_tables_stay_as_they_are() -> None:
    class Near:
        name, fixed = "near:", True

        def get(self, key: str) -> Found | None:
            return None

        def stale(self) -> bool:
            return False

        def reload(self) -> None: ...

    near = Near()
    assert Scene().waiting.wrap(near) is near


def test_it_stands_on_its_table() -> None:
    scene = Scene()
    assert isinstance(scene.table, WaitingTable)
    assert list(leaves(scene.table)) == [scene.far]
    assert (scene.table.name, scene.table.fixed) == ("far:it", True)


def test_answers_that_nobody_needs_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postwarden.tables.remote.waiting.KEEP_NAMES", 100)
    scene = Scene()
    for number in range(1000):
        scene.settle(lambda number=number: scene.table.get(str(number)))  # type: ignore[misc]
        scene.clock.advance(0.1)
    assert len(scene.table._known) <= 200  # type: ignore[attr-defined]
