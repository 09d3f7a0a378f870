"""The whole of a merge: ask the sources, judge what came, merge, compare, install. And what an operator changes by
hand: confirm, rollback."""

import gc
import time
from collections.abc import Callable
from functools import partial

from msgspec import Struct, field

from postwarden.config.errors import Problem
from postwarden.config.settings import Settings
from postwarden.explain.gateway import Gateway
from postwarden.explain.leads import Entry
from postwarden.federation.arrival import (
    Arrived,
    Fetch,
    Judged,
    Missing,
    Unreachable,
    Unsettled,
    disappeared,
    judge,
    landed,
    sha256,
)
from postwarden.federation.entries import read_entries
from postwarden.federation.installing import Change, Line, changes, install, installed, is_installed, texts
from postwarden.federation.merging import merge
from postwarden.federation.sources import Federation, Pull, Push, Source
from postwarden.federation.store import GONE, Happening, SourceState, State, Store
from postwarden.mail.decision import Origin

ALL, DUE, NONE = "all", "due", "none"
"""Which sources are fetched."""


class Mistake(Exception):
    """What was asked for can't be done; the text says why."""


class Report(Struct):
    """What a merge has found and done."""

    problems: list[Problem] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    entries: int = 0
    install: int = 0
    """Number of the install; 0: nothing was to be changed, or nothing was meant to be."""

    @property
    def errors(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


class Merger:
    """`who` does it. Raises ConfigError, TableError, OSError, ValueError and Busy; what is installed then stays."""

    def __init__(
        self,
        settings: Settings,
        federation: Federation,
        fetch: Fetch,
        who: str,
        *,
        now: Callable[[], float] = time.time,
        account: Callable[[str], int | None] | None = None,
    ) -> None:
        self._settings = settings
        self._federation = federation
        self._fetch = fetch
        self._who = who
        self._now = now
        self._account = account
        self.store = Store(federation.directory)

    def merge(self, why: str, *, pull: str = ALL, dry_run: bool = False, wait: float = 60.0) -> Report:
        """`dry_run` changes nothing, and keeps nothing of what it fetched. `wait`: seconds for another merge."""
        # Millions of entries that all stay: the collector would look through them again and again for nothing.
        gc.disable()
        try:
            return self._locked(why, pull, dry_run=dry_run, wait=wait)
        finally:
            gc.enable()

    def _locked(self, why: str, pull: str, *, dry_run: bool, wait: float) -> Report:
        if dry_run:
            return self._merge(self.store.state(), why, pull, dry_run=True)
        self.store.prepare()
        with self.store.locked(wait):
            return self._merge(self.store.state(), why, pull, dry_run=False)

    def confirm(self, name: str, why: str) -> Report:
        """Let a held version come into force. Raises Mistake."""
        self.store.prepare()
        with self.store.locked(60.0):
            state = self.store.state()
            source = self._source(name)
            own = state.sources.setdefault(name, SourceState())
            if not own.held and not own.refused:
                raise Mistake(f"{name}: nothing is held")
            if own.held:
                own.good, own.held, own.why_held, own.arrived = own.held, 0, "", self._now()
            own.refused = ()
            own.latest = own.latest if own.good else ""
            self.store.note(Happening(self._now(), "confirmed", self._who, why, source.name, own.good))
            self.store.keep_state(state)
            return self._merge(state, why, NONE, dry_run=False)

    def rollback(self, name: str, number: int, why: str) -> Report:
        """A source back to version `number`, 0: to the one that was in force before; without a name, all sources to
        what install `number` stood on. What came later comes back with another content only, or by confirm.
        Raises Mistake."""
        self.store.prepare()
        with self.store.locked(60.0):
            state = self.store.state()
            for source, version in self._targets(name, number, state).items():
                self._back(state, source, version, why)
            self.store.keep_state(state)
            return self._merge(state, why, NONE, dry_run=False)

    def _targets(self, name: str, number: int, state: State) -> dict[str, int]:
        if name:
            self._source(name)
            if not number:
                number = self._before(name, state)
            if number not in self.store.versions(name):
                raise Mistake(f"{name}: there is no version {number}")
            return {name: number}
        installs = [h for h in self.store.history() if h.what == "installed"]
        wanted = number or (installs[-2].version if len(installs) > 1 else 0)
        found = next((h for h in reversed(installs) if h.version == wanted), None)
        if found is None:
            raise Mistake(f"there is no install {wanted}" if number else "there is no install before the last")
        known = {source.name for source in self._federation.sources}
        versions = {source: version for source, version in found.versions.items() if source in known and version}
        lost = [s for s, v in versions.items() if v != GONE and v not in self.store.versions(s)]
        if lost:
            raise Mistake(f"install {wanted}: the versions of {', '.join(lost)} are not kept any more")
        return versions

    def _before(self, name: str, state: State) -> int:
        """The version that was in force before the one that is."""
        current = state.sources.get(name, SourceState()).good
        kinds = ("arrived", "confirmed", "rolled back")
        past = [h.version for h in self.store.history() if h.source == name and h.what in kinds]
        older = [v for v in past if 0 < v < current] if current > 0 else [v for v in past if v > 0]
        if not older:
            raise Mistake(f"{name}: no version was in force before version {current}")
        return older[-1]

    def _back(self, state: State, name: str, version: int, why: str) -> None:
        own = state.sources.setdefault(name, SourceState())
        if own.good == version and not own.held:
            return
        newer = [v for v in self.store.versions(name) if v > version]
        own.refused = tuple(dict.fromkeys((*own.refused, *(sha256(self.store.version(name, v)) for v in newer))))
        own.good, own.held, own.why_held = version, 0, ""
        self.store.note(Happening(self._now(), "rolled back", self._who, why, name, version))

    def _source(self, name: str) -> Source:
        source = self._federation.source(name)
        if source is None:
            raise Mistake(f"{name}: there is no such source in {self._federation.file}")
        return source

    # One merge

    def _merge(self, state: State, why: str, pull: str, *, dry_run: bool) -> Report:
        report = Report()
        fresh = self._arrivals(state, pull, report, dry_run=dry_run)
        given = {s.name: fresh.get(s.name) or self._kept(s, state) for s in self._federation.sources}
        if not dry_run:
            self.store.keep_state(state)
        tables = tuple(t for t in (self._federation.table, self._federation.virtual_table) if t)
        gateway = Gateway(self._settings, tables, self._federation.organization, self._account)
        before = installed(self._federation)
        merged = merge(self._federation, given, gateway, {name: line.source for name, line in before.items()})
        report.problems += merged.problems
        report.problems += self._unused(gateway)
        new = texts(self._federation, merged.entries)
        report.changes = changes(before, new.lines)
        report.entries = len(merged.entries)
        there = is_installed(self._federation, new)
        if dry_run or (there and self.store.install_text(state.install) == new.aliases):
            return report
        if not state.install and not there and not merged.entries:
            # With a table that is not there mail waits; with an empty one it is refused.
            text = "nothing has come yet, and no table is installed: what needs it is put off"
            report.problems.append(Problem(Origin(self._federation.file, 0, ""), "warning", text))
            return report
        number = state.install + 1
        self.store.add_install(number, new.aliases, new.virtual if self._federation.virtual_table else None)
        if not there:
            report.problems += install(self._federation, new)
        self._installed(state, number, why, new.lines)
        report.install = number
        return report

    def _installed(self, state: State, number: int, why: str, lines: dict[str, Line]) -> None:
        versions = {s.name: state.sources.get(s.name, SourceState()).good for s in self._federation.sources}
        done = Happening(
            self._now(), "installed", self._who, why, version=number, entries=len(lines), versions=versions
        )
        self.store.note(done)
        state.install = number
        self.store.keep_state(state)
        keep = self._federation.keep_versions
        self.store.forget_installs(number, keep)
        for source in self._federation.sources:
            own = state.sources.get(source.name, SourceState())
            self.store.forget(source.name, keep, {own.good, own.held})

    def _kept(self, source: Source, state: State) -> list[Entry]:
        """The entries of the version in force."""
        good = state.sources.get(source.name, SourceState()).good
        return read_entries(self.store.version(source.name, good), source.label, source.name) if good > 0 else []

    def _unused(self, gateway: Gateway) -> list[Problem]:
        """Merged for nothing."""
        found = []
        for name, table, used in (
            ("alias_maps", self._federation.table, gateway.alias_maps),
            ("virtual_alias_maps", self._federation.virtual_table, gateway.virtual_maps),
        ):
            if table and table not in [one.removeprefix("proxy:") for one in used]:
                text = f"{name} does not name {table}: what is merged has no effect"
                found.append(Problem(self._settings.origin(name), "warning", text))
        return found

    # Arrivals

    def _arrivals(self, state: State, pull: str, report: Report, *, dry_run: bool) -> dict[str, list[Entry]]:
        """Ask the sources, and note in `state` what came; the entries of new versions that are in force now."""
        fresh: dict[str, list[Entry]] = {}
        for source, came in self._ask(state, pull):
            own = state.sources.setdefault(source.name, SourceState())
            own.asked = self._now()
            if isinstance(came, Unsettled):
                report.problems.append(_said(source, "note", f"{came}: it is looked at again"))
                continue
            if isinstance(came, Missing) and own.good > 0:
                judged = disappeared(own, source)
                own.fault = str(came)
            elif isinstance(came, Unreachable):
                own.fault = str(came)
                continue
            else:
                own.fault, own.seen = "", self._now()
                if own.held == GONE:
                    own.held, own.why_held = 0, ""
                judged = judge(came.data, source, own, partial(self._content, source, own))
            self._take(source, own, came, judged, dry_run=dry_run)
            if judged.what == "arrived":
                fresh[source.name] = judged.entries
        for source in self._federation.sources:
            report.problems += _state_of(source, state.sources.get(source.name, SourceState()))
        return fresh

    def _ask(self, state: State, pull: str) -> list[tuple[Source, Arrived | Unreachable]]:
        wanted: list[tuple[str, Pull]] = []
        found: list[tuple[Source, Arrived | Unreachable]] = []
        for source in self._federation.sources:
            own = state.sources.get(source.name, SourceState())
            if isinstance(source.arrives, Push):
                found.append((source, self._landed(source, source.arrives)))
            elif pull == ALL or (pull == DUE and own.asked + self._federation.interval <= self._now()):
                wanted.append((source.name, source.arrives))
        if wanted:
            fetched = self._fetch(wanted, self._federation.size_limit, self._federation.pull_timeout)
            for name, came in fetched.items():
                source = self._source(name)
                if isinstance(came, bytes):
                    found.append((source, Arrived(came, str(source.arrives), self._now())))
                else:
                    found.append((source, came))
        return found

    def _landed(self, source: Source, push: Push) -> Arrived | Unreachable:
        try:
            return landed(source, push, self._federation.size_limit, self._now)
        except Unreachable as error:
            return error

    def _content(self, source: Source, own: SourceState) -> bytes | None:
        return self.store.version(source.name, own.good) if own.good > 0 else None

    def _take(
        self, source: Source, own: SourceState, came: Arrived | Unreachable, judged: Judged, *, dry_run: bool
    ) -> None:
        """Keep a new version, and say in the history what became of it."""
        if judged.what in ("same", "refused"):
            return
        version, digest, who = GONE, "", self._who
        if isinstance(came, Arrived):
            digest, who = sha256(came.data), came.who
            again, own.latest = own.latest == digest, digest
            own.unfit = judged.why if judged.what == "unfit" else ""
            if judged.what == "unfit":
                if not again and not dry_run:
                    self.store.note(Happening(self._now(), "unfit", who, judged.why, source.name, sha256=digest))
                return
            version = 0 if dry_run else self.store.add_version(source.name, came.data)
        if judged.what == "held":
            own.held, own.why_held = version or GONE, judged.why
        else:
            own.good, own.held, own.why_held, own.arrived = version, 0, "", self._now()
        if not dry_run:
            count = len(judged.entries)
            self.store.note(Happening(self._now(), judged.what, who, judged.why, source.name, version, count, digest))


def _state_of(source: Source, own: SourceState) -> list[Problem]:
    """What stands against a source, and what holds instead."""
    stays = f"version {own.good} of {age_text(own.arrived)} stays" if own.good > 0 else "it has no aliases here"
    found = []
    if own.held:
        what = f"version {own.held} is held" if own.held != GONE else "held"
        text = f"{what}: {own.why_held}; {stays}: `postwarden aliases confirm {source.name}` lets it in"
        found.append(_said(source, "error", text))
    elif own.unfit:
        found.append(_said(source, "error", f"what came can't be used: {own.unfit}; {stays}"))
    if own.fault and own.held != GONE:
        found.append(_said(source, "error", f"{own.fault}; {stays}"))
    return found


def age_text(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _said(source: Source, severity: str, text: str) -> Problem:
    return Problem(Origin(source.origin.file, source.origin.line, ""), severity, f"source {source.name}: {text}")
