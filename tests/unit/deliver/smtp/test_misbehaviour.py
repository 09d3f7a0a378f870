"""Each way of misbehaving comes to what Postfix's smtp(8) said of it (recorded by tests/interop)."""

import csv
from pathlib import Path

import pytest

from postwarden.testing.misbehaviour import Case, cases, comparable, content_cases
from postwarden.testing.smtp_client import bench_for

CASES = (*cases(), *content_cases())


def recorded() -> dict[str, dict[int, tuple[str, str, str]]]:
    rows: dict[str, dict[int, tuple[str, str, str]]] = {}
    with Path(__file__).with_name("misbehaviour.tsv").open(newline="") as file:
        for name, number, code, status, text in csv.reader(file, delimiter="\t"):
            rows.setdefault(name, {})[int(number)] = (code, status, text)
    return rows


POSTFIX = recorded()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_same_as_postfix(case: Case) -> None:
    bench, job = bench_for(case)
    outcome = bench.deliver(job)
    got = {n: (s.code, s.action.value, comparable(s.text)) for n, s in enumerate(outcome.results)}
    assert got == POSTFIX[case.name]
    assert not bench.deliverer.busy


# A reset overtakes bytes that come one by one.
SMALL = [case for case in CASES if len(case.content) < 1000 and "reset" not in case.name]


@pytest.mark.parametrize("case", SMALL, ids=[case.name for case in SMALL])
def test_same_byte_by_byte(case: Case) -> None:
    bench, job = bench_for(case, chunk=1)
    outcome = bench.deliver(job)
    got = {n: (s.code, s.action.value, comparable(s.text)) for n, s in enumerate(outcome.results)}
    assert got == POSTFIX[case.name]


def test_enough_cases() -> None:
    assert len(cases()) > 500
    assert set(POSTFIX) == {case.name for case in CASES}
