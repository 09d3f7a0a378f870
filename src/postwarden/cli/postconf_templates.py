"""postconf -b and -t: the templates of reports, with `$names` expanded or as written (bounce(5))."""

import sys
from collections.abc import Sequence

from postwarden.bounce.expansion import open_templates, open_texts
from postwarden.bounce.templates import KINDS, Template, author
from postwarden.config.settings import Settings


def show_templates(settings: Settings, names: list[str], *, expanded: bool) -> None:
    """Of the file `names` has, or of bounce_template_file; an empty name: the built-in ones. Raises ConfigError;
    ValueError with a text for the user."""
    if len(names) > 1:
        raise ValueError("options -b and -t require at most one template file")
    file = names[0] if names else settings.text("bounce_template_file")
    origin = settings.origin("bounce_template_file")
    if expanded:
        texts = open_texts(settings, file, origin)
        parts = [_part(f"expanded_{kind}_text", texts.expanded[kind]) for kind in KINDS]
        warnings: Sequence[str] = texts.warnings
    else:
        templates, warnings = open_templates(file, origin)
        rows = {kind: (*_headers(template, settings), "", *template.text) for kind, template in templates.items()}
        parts = [_part(f"{kind}_template", rows[kind]) for kind in KINDS]
    for warning in warnings:
        print(f"postconf: warning: {warning}", file=sys.stderr)
    sys.stdout.buffer.write("\n".join(parts).encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def _part(name: str, rows: Sequence[str]) -> str:
    return "\n".join([f"{name} = <<EOF", *rows, "EOF", ""])


def _headers(template: Template, settings: Settings) -> list[str]:
    sender = author(template, settings.text("header_from_format"))
    rows = [f"Charset: {template.charset}", f"From: {sender}", f"Subject: {template.subject}"]
    return rows + ([f"Postmaster-Subject: {template.postmaster_subject}"] if template.postmaster_subject else [])
