"""Where SMTP clients come in, and by which rules."""

from collections.abc import Iterator

from postwarden.config.entries import Service
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings


def entrances(settings: Settings) -> Iterator[tuple[Service, Service]]:
    """Each inet service of master.cf that clients speak SMTP to, with the smtpd service whose settings hold there.
    Without a postscreen of our own its clients come to the smtpd behind it at once. Raises ConfigError."""
    for service in settings.services:
        if service.type != "inet":
            continue
        if service.command == "smtpd":
            yield service, service
        elif service.command == "postscreen":
            yield service, _behind(settings, service)


def _behind(settings: Settings, service: Service) -> Service:
    name = settings.text("smtpd_service_name", service.key)
    for other in settings.services:
        if (other.name, other.type, other.command) == (name, "pass", "smtpd"):
            return other
    raise ConfigError(service.origin, f'postscreen: master.cf has no service "{name} pass ... smtpd" behind it')
