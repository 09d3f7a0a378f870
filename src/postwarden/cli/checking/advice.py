"""Why a problem matters and what to do about it. Who reads a line says only what is wrong with it."""

import re

from postwarden.cli.checking.findings import Finding
from postwarden.cli.checking.names import nearest
from postwarden.config.errors import Problem
from postwarden.config.parameters import Standing, find, standing
from postwarden.config.settings import Settings

_STOPS = "the gateway does not start, and a reload keeps what it had"
_LATER = "do without it until a later version"
_ADVICE = (
    (r"smtpd_sasl_\w+ has no effect yet|broken_sasl", "no client can log in here, and none is offered to", _LATER),
    (r"(?:smtp|lmtp)_sasl_\w+ has no effect yet", "we log in nowhere: a relay that wants it refuses our mail", _LATER),
    (r"_checks has no effect yet", "mail passes without these checks", _LATER),
    (r"milter\w* has no effect yet", "no message is shown to a milter", _LATER),
    (r"postscreen_\w+ has no effect yet", "clients are not screened before they may talk", _LATER),
    (r"has no effect yet in this version", "what it asks for does not happen", _LATER),
    (r"is refused: ", _STOPS, ""),
    (
        r"specify at least one working instance",
        "strangers could relay, so no mail is accepted at all",
        "set smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination",
    ),
    (
        r'bad address pattern: "\[?:*(?:ffff)?:*\]?/104"',
        "its address is lost: who comes to it by IPv6 is put off, and nobody is trusted by it",
        "write [::ffff:127.0.0.0]/104",
    ),
    (
        r"bad address pattern|bad network/mask pattern",
        "whom it means is not known, so that who comes to it is put off",
        "write address/length, or [address]/length for IPv6",
    ),
    (r"non-null host address bits", "whom it means is not certain, so that who comes to it is put off", ""),
    (
        r": this service is down",
        "mail that is sent there waits and is then returned, and nobody answers its clients",
        "correct the last column, or remove the service",
    ),
    (
        r"TLS client: .*disabling TLS support",
        "mail that has to be encrypted waits, and other mail goes in clear text",
        "mend the file or the setting",
    ),
    (
        r"disabling TLS support",
        "clients that need TLS are refused, and others talk in clear",
        "mend the file or the setting",
    ),
    (r"duplicate entry: ", "the first entry counts", "remove one of them"),
    (r"duplicate master\.cf entry", "what the first one says does not hold", "remove one of them"),
    (r"can't be read: No such file", "", "make the file, or remove the name"),
    (r"can't be read: ", "", "mend the file or its mode"),
    (r"proxymap service is not configured", "", "name the table in proxy_read_maps, or leave proxy: out"),
    (r"smtpd_tls_dh1024_param_file: .* no such file", "", "set it to auto, or remove it"),
    (r"index is older than its source", "look-ups answer what the source said before", ""),
    (r"continues nothing", "what it says does not hold", "remove the white space before it"),
    (
        r"postscreen: master\.cf has no service",
        "the gateway starts without this port: its clients can't connect",
        "add the service, for example `smtpd pass - - n - - smtpd`, or let this one be smtpd",
    ),
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
_PUT_OFF = re.compile(
    r": can't be read: |what needs it will be put off|bad address pattern|bad network/mask pattern"
    r"|non-null host address bits|disabling TLS support|this service is down|behind it: \S+ is closed"
    r"|mail is answered with|mail that gets to it is put off"
)
"""The gateway starts with it, and mail waits. Where only a default names the table, as /etc/aliases, perhaps nobody
wants it."""
_OF = re.compile(r"parameter (\w+): ")
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
    severity = "error" if problem.origin.file and _puts_off(what) else problem.severity
    if "specify at least one" in what and not settings.entry("compatibility_level"):
        cure += ", or compatibility_level = 3.6, whose default that is"
    return Finding(problem.origin, severity, what, why, cure)


def _puts_off(text: str) -> bool:
    name = _OF.match(text)
    parameter = find(name[1]) if name else None
    return _PUT_OFF.search(text) is not None and (parameter is None or standing(parameter)[0] is Standing.WORKS)


def _meaning(problem: Problem) -> tuple[str, str]:
    for pattern, why, cure in _ADVICE:
        if re.search(pattern, problem.text):
            return why, cure
    return (_STOPS, "correct the line") if problem.severity == "error" else ("", "")
