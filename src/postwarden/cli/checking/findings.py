"""What `check` says, and how it is shown."""

import json
from collections import Counter
from collections.abc import Iterable
from functools import partial

from msgspec import Struct

from postwarden.mail.decision import BUILT_IN, Origin
from postwarden.mail.events import printable

ALIKE = 20
"""Findings of one kind in one file that are shown."""
SEVERITIES = ("error", "warning", "note")


class Finding(Struct, frozen=True):
    """`severity` is `error`: mail is lost, refused, put off, or let through that should not be; `warning`: it may be;
    `note`: it works, and not as somebody may think. `why` and `cure` may be empty where `what` says all."""

    origin: Origin
    """Line 0: the file as a whole. BUILT_IN: a default; main.cf is where to change it."""
    severity: str
    what: str
    why: str = ""
    cure: str = ""


error = partial(Finding, severity="error")
warning = partial(Finding, severity="warning")
note = partial(Finding, severity="note")


def ordered(findings: Iterable[Finding], config_directory: str) -> list[Finding]:
    """Each once, main.cf first, then master.cf, then other files; within a file by line. What a default says that
    came of a line that is named already is left out."""
    main_cf = Origin(f"{config_directory}/main.cf", 0, "")
    every = dict.fromkeys(findings)
    told = {_tail(f.what) for f in every if f.origin != BUILT_IN}
    every_placed = [
        Finding(f.origin if f.origin.file else main_cf, f.severity, f.what, f.why, f.cure)
        for f in every
        if f.origin != BUILT_IN or _tail(f.what) not in told
    ]
    files = {main_cf.file: 0, f"{config_directory}/master.cf": 1}
    unique = {(f.origin.file, f.origin.line, f.what): f for f in reversed(every_placed)}
    return _shortened(
        sorted(
            unique.values(),
            key=lambda f: (files.get(f.origin.file, 2), f.origin.file, f.origin.line, SEVERITIES.index(f.severity)),
        )
    )


def _shortened(findings: list[Finding]) -> list[Finding]:
    """Of a table with thousands of equal mistakes the first ones, and how many there are."""
    kinds = Counter(_kind(f) for f in findings)
    seen = Counter[tuple[str, str, str, str]]()
    shown = []
    for finding in findings:
        kind = _kind(finding)
        seen[kind] += 1
        if seen[kind] <= ALIKE or not finding.why:
            shown.append(finding)
        elif seen[kind] == ALIKE + 1:
            rest = kinds[kind] - ALIKE
            shown.append(Finding(finding.origin, finding.severity, f"and {rest} more like this: {finding.what}"))
    return shown


def _kind(finding: Finding) -> tuple[str, str, str, str]:
    return finding.origin.file, finding.severity, finding.why, finding.cure


def _tail(text: str) -> str:
    """`parameter x: y` and `x: y` are about the same y."""
    return text.rpartition(": ")[2]


def rendered(finding: Finding) -> str:
    """`file:line: severity: what; why; cure`."""
    origin = finding.origin
    where = f"{origin.file}:{origin.line}" if origin.line else origin.file
    text = "; ".join(part for part in (finding.what, finding.why, finding.cure) if part)
    return printable(f"{where}: {finding.severity}: {text}")


def as_json(findings: Iterable[Finding]) -> str:
    """One object a line."""
    return "".join(
        json.dumps(
            {
                "file": printable(f.origin.file), "line": f.origin.line, "severity": f.severity,
                "what": printable(f.what), "why": printable(f.why), "cure": printable(f.cure),
            }
        ) + "\n"
        for f in findings
    )  # fmt: skip
