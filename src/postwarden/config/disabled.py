"""master_service_disable: entries of master.cf that are as if they were not there."""

from postwarden.config.entries import TRANSPORTS, Service
from postwarden.config.errors import Problem
from postwarden.mail.decision import Origin

NAME = "master_service_disable"


def without_disabled(
    services: tuple[Service, ...], patterns: tuple[str, ...], origin: Origin
) -> tuple[tuple[Service, ...], list[Problem]]:
    """The services without listeners and transports that are switched off. What else the patterns name is a part of
    one program here, and goes on: a warning says so."""
    kept, problems = [], []
    for service in services:
        if not disabled(service, patterns):
            kept.append(service)
        elif service.type != "inet" and service.command not in TRANSPORTS:
            kept.append(service)
            text = f"{NAME}: {service.key} is no listener or transport of its own, and goes on"
            problems.append(Problem(origin, "warning", text))
    return tuple(kept), problems


def disabled(service: Service, patterns: tuple[str, ...]) -> bool:
    """The first pattern that fits decides: `type`, `name/type`, its old form `name.type`, each maybe behind a `!`."""
    for pattern in patterns:
        word = pattern.lstrip("!").lower()
        if "/" not in word and "." in word:
            word = "/".join(word.rsplit(".", 1))
        if word == (service.key if "/" in word else service.type).lower():
            return (len(pattern) - len(word)) % 2 == 0
    return False
