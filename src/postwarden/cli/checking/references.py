"""References in refusals, which lead to the store of decisions."""

from collections.abc import Iterator

from postwarden.cli.checking.findings import Finding, warning
from postwarden.config.settings import Settings

_NAME = "postwarden_refusal_reference"


def findings(settings: Settings) -> Iterator[Finding]:
    if settings.value("postwarden_trace"):
        return
    for service in settings.services:
        if service.command == "smtpd" and service.type != "unix" and settings.value(_NAME, service.key):
            yield warning(
                settings.origin(_NAME, service.key), what=f"{_NAME} has no effect with postwarden_trace = no",
                why="refusals carry no reference, since nothing is kept that it could lead to",
                cure="remove postwarden_trace = no",
            )  # fmt: skip
            return
