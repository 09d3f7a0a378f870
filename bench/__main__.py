"""`python -m bench [--quick] [--rows single,kept] [--only postwarden] [--stages]`"""

import argparse
import contextlib
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import mailboxes, million
from bench.instance import BenchError, Postfix, Postwarden, System
from bench.mailboxes import LOCAL_ROWS, LocalRow, measure_local, users
from bench.memory import MEMORY_ROWS, MemoryRow, measure_memory
from bench.rows import ROWS, Result, Row, measure, missing
from bench.stages import Stages

_NAMES = (*[row.name for row in (*ROWS, *LOCAL_ROWS, *MEMORY_ROWS)], million.NAME)
POSTFIX_SESSIONS = 90
"""Postfix has a process a session, and default_process_limit lets it have 100."""


Once = Callable[..., Result]


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    options = _options()
    chosen = options.rows.split(",") if options.rows else list(_NAMES)
    unknown = set(chosen) - set(_NAMES)
    if unknown:
        print(f"no such row: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    systems: list[System] = [Postwarden(), Postfix()]
    systems = [system for system in systems if options.only in ("", system.name)]
    for system in list(systems):
        if system.missing():
            print(f"not measured: {system.name}: {system.missing()}")
            systems.remove(system)
    directory = Path(tempfile.mkdtemp(prefix="postwarden-bench-", dir=options.directory))
    directory.chmod(0o755)
    failed = False
    print(f"{options.pairs} pairs of rounds of {options.seconds:g} s in {directory}; fsync on")
    try:
        for row in ROWS:
            if row.name in chosen:
                failed |= not _row(row, systems, directory / "run", options)
        for local_row in LOCAL_ROWS:
            if local_row.name in chosen:
                failed |= not _local_row(local_row, systems, directory / "run", options)
        for memory_row in MEMORY_ROWS:
            if memory_row.name in chosen:
                failed |= not _memory_row(memory_row, systems, directory / "run")
        if million.NAME in chosen and options.only != "postfix":
            failed |= not _million_row(directory / "run", options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Postwarden and Postfix in turn, on the same settings.")
    parser.add_argument("--rows", default="", help=f"some of: {', '.join(_NAMES)}")
    parser.add_argument("--deferred", type=int, default=million.COUNT, help="messages of the row million")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a round, at least")
    parser.add_argument("--quick", action="store_true", help="one pair of 3 s: for the loop of development")
    parser.add_argument("--only", default="", choices=["", "postwarden", "postfix"])
    parser.add_argument("--stages", action="store_true", help="one more round, sampled: CPU by stage within each role")
    parser.add_argument("--directory", default="/var/tmp", help="on the disk to measure")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.seconds = 1, 3.0
    return options


def _row(row: Row, systems: list[System], directory: Path, options: argparse.Namespace) -> bool:
    passed = _measured(row, systems, options, missing(row), partial(measure, row, directory=directory))
    if options.stages and any(system.name == "postwarden" for system in systems):
        _print_stages(row, directory, options.seconds)
    return passed


def _local_row(row: LocalRow, systems: list[System], directory: Path, options: argparse.Namespace) -> bool:
    with users() if not mailboxes.missing() else contextlib.nullcontext():
        return _measured(row, systems, options, mailboxes.missing(), partial(measure_local, row, directory=directory))


def _measured(row: Row | LocalRow, systems: list[System], options: argparse.Namespace, reason: str, once: Once) -> bool:
    """`reason`: why it can't be measured; `once` measures a round."""
    print(f"\n{row.name}: {row.title}")
    if reason:
        print(f"  not measured: {reason}")
        return False
    results: dict[str, list[Result]] = {system.name: [] for system in systems}
    for pair in range(options.pairs):
        for system in systems if pair % 2 == 0 else systems[::-1]:
            try:
                results[system.name].append(once(system, seconds=options.seconds))
            except BenchError as error:
                print(f"  {system.name}: {error}")
                return False
    for system in systems:
        _print_results(system.name, results[system.name])
    return _print_ratio(row, results)


def _print_results(name: str, results: list[Result]) -> None:
    rate = statistics.median(result.rate for result in results)
    cpu = statistics.median(result.cpu for result in results)
    middle = min(results, key=lambda result: abs(result.cpu - cpu))
    roles = "  ".join(f"{role} {used:.0f}" for role, used in middle.roles.items())
    spread = " ".join(f"{result.rate:.0f}" for result in results)
    print(f"  {name:<10} {rate:8.0f} messages/s  {cpu:7.0f} µs CPU a message: {roles}")
    threads = "  ".join(f"{thread} {used:.0f}" for thread, used in middle.threads.items())
    if threads:
        print(f"  {'':<10} threads: {threads}")
    print(f"  {'':<10} rounds: {spread}  ({results[0].messages} messages in {results[0].seconds:.1f} s)")


def _print_ratio(row: Row | LocalRow, results: dict[str, list[Result]]) -> bool:
    if len(results) < 2:
        return True
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(results["postwarden"], results["postfix"], strict=True)]
    ratio = statistics.median(ratios)
    verdict = ""
    if row.gate:
        verdict = "aim reached" if ratio >= row.aim else "gate reached" if ratio >= row.gate else "BELOW THE GATE"
        verdict = f"  {verdict} (gate {row.gate:g}, aim {row.aim:g})"
    print(f"  ratio      {ratio:8.2f} (from {min(ratios):.2f} to {max(ratios):.2f}){verdict}")
    return ratio >= row.gate


def _print_stages(row: Row, directory: Path, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="postwarden-stages-") as samples:
        Path(samples).chmod(0o755)
        stages = Stages(Path(samples))
        try:
            result = measure(row, Postwarden(stages.python), directory, seconds)
        except BenchError as error:
            print(f"  stages: {error}")
            return
        for line in stages.report(result):
            print(f"  {line}")


def _memory_row(row: MemoryRow, systems: list[System], directory: Path) -> bool:
    print(f"\n{row.name}: {row.title}")
    passed = True
    for system in systems:
        wanted = row.sessions if system.name == "postwarden" else min(row.sessions, POSTFIX_SESSIONS)
        try:
            result = measure_memory(row, system, directory, wanted)
        except BenchError as error:
            print(f"  {system.name}: {error}")
            return False
        each = (result.after - result.before) / max(result.sessions, 1) / 1024
        note = "" if wanted == row.sessions else f"  (default_process_limit: no more than {wanted} were tried)"
        print(
            f"  {system.name:<10} {result.sessions} sessions: {result.after / 2**20:.0f} MB in all processes, "
            f"{result.before / 2**20:.0f} MB without; {each:.1f} KB a session{note}"
        )
        if system.name == "postwarden" and (result.sessions < wanted or (row.limit and result.after > row.limit)):
            print(f"  BELOW THE GATE ({row.limit / 2**20:.0f} MB)" if row.limit else "  not all sessions were opened")
            passed = False
    return passed


def _million_row(directory: Path, options: argparse.Namespace) -> bool:
    print(f"\n{million.NAME}: {million.TITLE}")
    try:
        return million.measure_million(directory, options.pairs, options.seconds, options.deferred)
    except BenchError as error:
        print(f"  postwarden: {error}")
        return False


if __name__ == "__main__":
    sys.exit(main())
