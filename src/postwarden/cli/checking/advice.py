"""Why a problem matters and what to do about it. Who reads a line says only what is wrong with it."""

import re

from postwarden.cli.checking.findings import Finding
from postwarden.cli.checking.names import nearest
from postwarden.config.errors import Problem
from postwarden.config.settings import Settings

_STOPS = "the gateway does not start, and a reload keeps what it had"
_ADVICE = (
    (
        r"has no effect yet in this version",
        "what it asks for does not happen",
        "remove it, or do without what it does until a later version",
    ),
    (r"is refused: ", _STOPS, ""),
    (
        r"specify at least one working instance",
        "strangers could relay, so no mail is accepted at all",
        "set smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination",
    ),
    (
        r'bad address pattern: "\[?:*(?:ffff)?:*\]?/104"',
        "its address is lost, and whom it meant is not trusted: 127.0.0.1, as IPv6 shows it",
        "write [::ffff:127.0.0.0]/104",
    ),
    (
        r"bad address pattern|bad network/mask pattern",
        "whom it meant is not known",
        "write address/length, or [address]/length for IPv6",
    ),
    (r"non-null host address bits", "which network is meant is not certain", "write it as suggested"),
    (r"duplicate entry: ", "the first entry counts", "remove one of them"),
    (r"duplicate master\.cf entry", "what the first one says does not hold", "remove one of them"),
    (
        r"can't be read: No such file",
        "what needs the table is put off until it is there",
        "make the file, or remove the name",
    ),
    (r"can't be read: ", "what needs the table is put off", "mend the file or its mode"),
    (r"index is older than its source", "look-ups answer what the source said before", ""),
    (r"continues nothing", "what it says does not hold", "remove the white space before it"),
    (r"master\.cf has no service", "that mail waits and is then returned", "add the service, or name another one"),
    (r"(?:not available|not supported) in this version|not yet[;:]", "", "do without it until a later version"),
    (
        r"unknown smtpd restriction|restriction .* is not available",
        "who may send what can't be decided",
        "correct or remove it",
    ),
    (
        r"ignoring this line",
        "the entry does not exist for the mail system",
        "correct the line, and run postmap if there is an index",
    ),
    (
        r"what this line would decide is put off",
        "mail that it would decide on is answered with a temporary error",
        "correct the line",
    ),
)
_UNREADABLE = ": can't be read: "
"""Such a table is waited for, and mail waits with it. Where only a default names it, as /etc/aliases, perhaps nobody
wants it."""
_UNUSED = re.compile(r"unused parameter: ([^\s=]+)")


def advised(problem: Problem, settings: Settings) -> Finding:
    what = problem.text
    unused = _UNUSED.match(what)
    if unused is not None:
        like = nearest(unused[1])
        why = f"nothing reads {unused[1]}: it is no parameter, and no other setting refers to it"
        cure = f"did you mean {like}?" if like else "remove it"
        return Finding(problem.origin, problem.severity, what, why, cure)
    why, cure = _meaning(problem)
    severity = "error" if problem.origin.file and _UNREADABLE in what else problem.severity
    if "specify at least one" in what and not settings.entry("compatibility_level"):
        cure += ", or compatibility_level = 3.6, whose default that is"
    return Finding(problem.origin, severity, what, why, cure)


def _meaning(problem: Problem) -> tuple[str, str]:
    for pattern, why, cure in _ADVICE:
        if re.search(pattern, problem.text):
            return why, cure
    return (_STOPS, "correct the line") if problem.severity == "error" else ("", "")
