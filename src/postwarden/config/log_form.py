"""How the log writes things, by the configuration."""

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.mail.events import USUAL, Form

_NAME = "info_log_address_format"


def log_form(settings: Settings) -> Form:
    """For each process that logs what happens to mail. A bad format is taken for the default, and `check_log_form`
    says so: what can't be logged would be worse."""
    internal = settings.text(_NAME) == "internal"
    digits = settings.number("delay_logging_resolution_limit")
    if not internal and digits == USUAL.digits:
        return USUAL
    return Form(_as_it_is if internal else USUAL.address, digits)


def check_log_form(settings: Settings) -> None:
    """Raises ConfigError."""
    if settings.text(_NAME) not in ("external", "internal"):
        text = f"{_NAME}: {settings.text(_NAME)!r} is neither external nor internal"
        raise ConfigError(settings.origin(_NAME), text)


def _as_it_is(address: str) -> str:
    return address
