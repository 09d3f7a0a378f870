"""Reports as a configuration wants them."""

from collections.abc import Callable

from postwarden.bounce.expansion import Texts, open_texts
from postwarden.bounce.params import BounceParams
from postwarden.bounce.report import Reports
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view

CLASSES = ("2bounce", "bounce", "data", "delay", "policy", "protocol", "resource", "software")
"""What notify_classes may name; the second half is told of by those whom it concerns."""


def open_reports(settings: Settings, now: Callable[[], float], warn: Callable[[str], None]) -> Reports:
    """`now` gives seconds since the epoch; `warn` hears of templates that are left out. Raises ConfigError."""
    key = service(settings)
    params = view(BounceParams, settings, key)
    for word in params.notify_classes:
        if word.lower() not in CLASSES:
            raise ConfigError(settings.origin("notify_classes", key), f'notify_classes: unknown class "{word}"')

    def texts() -> Texts:
        found = open_texts(settings, params.bounce_template_file, settings.origin("bounce_template_file", key))
        for warning in found.warnings:
            warn(warning)
        return found

    double = settings.text("2bounce_notice_recipient", key)
    return Reports(params, texts, now, double_bounce_recipient=double)


def service(settings: Settings) -> str:
    """Whose `-o` count: those of the bounce service, where master.cf has it."""
    found = settings.find_service("bounce")
    return found.key if found is not None and found.command == "bounce" else ""
