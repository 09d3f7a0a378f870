"""Where SMTP clients come in, and by which rules."""

from collections.abc import Iterator

from postwarden.config.entries import Service
from postwarden.config.errors import Problem
from postwarden.config.settings import Settings


def entrances(settings: Settings) -> Iterator[tuple[Service, Service]]:
    """Each inet service of master.cf that clients speak SMTP to, with the smtpd service whose settings hold there.
    Without a postscreen of our own its clients come to the smtpd behind it at once; where there is none, nobody could
    answer them, and its address is none of these (`closed` says so). Raises ConfigError."""
    for service in settings.services:
        if service.type != "inet":
            continue
        if service.command == "smtpd":
            yield service, service
        elif service.command == "postscreen":
            behind = _behind(settings, service)
            if behind is not None:
                yield service, behind


def closed(settings: Settings) -> Iterator[tuple[str, Problem]]:
    """Keys of services whose addresses nobody listens at, and why. Raises ConfigError."""
    for service in settings.services:
        if service.type == "inet" and service.command == "postscreen" and _behind(settings, service) is None:
            text = f'postscreen: master.cf has no service "{_name(settings, service)} pass ... smtpd" behind it'
            yield service.key, Problem(service.origin, "warning", f"{text}: {service.name} is closed")


def _behind(settings: Settings, service: Service) -> Service | None:
    name = _name(settings, service)
    fits = (other for other in settings.services if (other.name, other.type, other.command) == (name, "pass", "smtpd"))
    return next(fits, None)


def _name(settings: Settings, service: Service) -> str:
    return settings.text("smtpd_service_name", service.key)
