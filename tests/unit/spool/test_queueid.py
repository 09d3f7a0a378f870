import re

import pytest

from postwarden.spool.queueid import QueueIds, number


@pytest.mark.parametrize("long", [False, True])
def test_no_id_twice_when_the_clock_stands_still_or_goes_back(long: bool) -> None:
    times = [1_700_000_000.5] * 1000 + [1_600_000_000.0] * 1000
    ids = QueueIds(iter(times).__next__, 3, long=long)
    assert len({ids.new() for _ in times}) == 2000


@pytest.mark.parametrize("long", [False, True])
def test_instances_never_share_an_id(long: bool) -> None:
    made = [QueueIds(lambda: 1_700_000_000.0, n, long=long).new() for n in range(1024)]
    assert len(set(made)) == 1024


def test_form_of_postfix() -> None:
    assert re.fullmatch(r"[0-9A-F]{6,15}", QueueIds(lambda: 1_700_000_000.25, 7, long=False).new())
    long = QueueIds(lambda: 1_700_000_000.25, 7, long=True).new()
    assert re.fullmatch(r"[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]{10,}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]+", long)


def test_long_id_tells_the_time_and_sorts_by_it() -> None:
    first = QueueIds(lambda: 1_700_000_000.0, 1, long=True).new()
    assert first.startswith(number(1_700_000_000, 52, 6) + "0000z")
    assert first < QueueIds(lambda: 1_700_000_000.000001, 1, long=True).new()


def test_number() -> None:
    assert number(0, 52, 4) == "0000"
    assert number(51, 52) == "z"
    assert number(50, 51) == "y"
    assert number(52, 52) == "10"
