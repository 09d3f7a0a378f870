"""bounce_template_file: what a person reads in each kind of report (bounce(5)), parsed and checked. No I/O.

A template with a fault is left out and the built-in one used in its place, with a warning; a file that is no template
file at all is an error.
"""

from msgspec import Struct

from postwarden.bounce.builtin import BUILT_IN
from postwarden.mail.decision import Origin

KINDS = ("failure", "delay", "success", "verify")
_HEADERS = {"charset": "Charset", "from": "From", "subject": "Subject", "postmaster-subject": "Postmaster-Subject"}


class TemplateError(ValueError):
    """`origin` is the place."""

    def __init__(self, origin: Origin, text: str) -> None:
        super().__init__(text)
        self.origin = origin


class Template(Struct, frozen=True):
    """One kind of report. A header that the file does not give is the built-in one's."""

    kind: str
    file: str
    """Empty: built in."""
    charset: str
    author: str
    """Empty where the file gives none: then it is as header_from_format has it."""
    subject: str
    postmaster_subject: str
    """Empty where postmasters get no copy."""
    text: tuple[str, ...]
    """Lines, `$names` not expanded."""

    @property
    def place(self) -> str:
        return self.file or "[built-in]"


class _Faulty(ValueError):
    """A template that has to be left out."""


def author(template: Template, header_from_format: str) -> str:
    """What the report's From has."""
    if template.author:
        return template.author
    obsolete = header_from_format == "obsolete"
    return "MAILER-DAEMON (Mail Delivery System)" if obsolete else "Mail Delivery System <MAILER-DAEMON>"


def built_in() -> dict[str, Template]:
    return {kind: _template(kind, "", BUILT_IN[kind].split("\n"), None) for kind in KINDS}


def parse(data: bytes, file: str) -> tuple[dict[str, Template], list[str]]:
    """All four templates, and what was wrong with those that were left out. Raises TemplateError."""
    templates = built_in()
    warnings: list[str] = []
    for name, lines, at in _attributes(data, file, warnings):
        kind = name.removesuffix("_template")
        if kind not in KINDS or kind == name:
            warnings.append(f"{file}, line {at}: unknown template name: {name} -- ignoring this template")
            continue
        try:
            templates[kind] = _template(kind, file, lines, built_in()[kind])
        except _Faulty as error:
            warnings.append(f"{file}: {error} -- ignoring this template")
    return templates, warnings


def _attributes(data: bytes, file: str, warnings: list[str]) -> list[tuple[str, list[str], int]]:
    """(name, lines of the value, number of its first line) of each `name = value` and `name = <<END`."""
    lines = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").removesuffix("\n").split("\n")
    found: list[tuple[str, list[str], int]] = []
    at = 0
    while at < len(lines):
        line, first = lines[at].strip(), at + 1
        at += 1
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise TemplateError(Origin(file, first, line), f"missing '=' after attribute name: \"{line}\"")
        value = value.strip()
        if not value.startswith("<<"):
            found.append((name.strip(), [value], first))
            continue
        end = value[2:].strip()
        if not end:
            raise TemplateError(Origin(file, first, line), "missing end marker after <<")
        if not end.isalnum():
            raise TemplateError(Origin(file, first, line), "malformed end marker after <<")
        try:
            last = lines.index(end, at)
        except ValueError:
            last = len(lines)
            warnings.append(f'{file}, line {last}: missing "{end}" end marker')
        found.append((name.strip(), lines[at:last], first))
        at = last + 1
    return found


def _template(kind: str, file: str, lines: list[str], standard: Template | None) -> Template:
    """Raises _Faulty."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(lines) and (label := _label(lines[at])):
        value = lines[at][len(label) + 1 :].strip()
        known = _HEADERS.get(label.lower())
        if known is None:
            raise _Faulty(f'unknown "{label}" header label in {kind} template')
        if not value:
            raise _Faulty(f'empty "{label}" header value in {kind} template')
        if not value.isascii() or not value.isprintable():
            raise _Faulty(f'non-ASCII "{label}" header value in {kind} template')
        headers[known] = value
        at += 1
    text = lines[at:]
    while text and not text[0].strip():
        del text[0]
    if not text:
        raise _Faulty(f"missing message text in {kind} template")
    made = Template(
        kind,
        file,
        headers.get("Charset", standard.charset if standard else ""),
        headers.get("From", "") if standard else "",
        headers.get("Subject", standard.subject if standard else ""),
        headers.get("Postmaster-Subject", standard.postmaster_subject if standard else ""),
        tuple(text),
    )
    if made.charset.lower() == "us-ascii" and not "".join(text).isascii():
        raise _Faulty(f"8-bit message text in {kind} template, please specify a charset value other than us-ascii")
    return made


def _label(line: str) -> str:
    """The name of a header field at the start of `line`; empty where there is none."""
    label, colon, _ = line.partition(":")
    return label if colon and label and all("!" <= c <= "~" for c in label) else ""
