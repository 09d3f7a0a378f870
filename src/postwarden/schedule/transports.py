"""The transports of master.cf, as limits for the scheduler."""

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Service, Settings
from postwarden.schedule.feedback import Feedback, FeedbackError, parse_feedback
from postwarden.schedule.scheduler import TransportLimits

POOLS = {
    "smtp": "carrier",
    "lmtp": "carrier",
    "local": "agent",
    "virtual": "agent",
    "pipe": "agent",
    "error": "error",
    "discard": "discard",
}
"""Command of a master.cf entry -> who delivers; error and discard are done by the courier itself."""

_CARRIER_PROCESSES = 1000
"""Deliveries at a time where the operator set no limit: they cost a carrier a socket each, not a process."""


def transports(settings: Settings) -> tuple[TransportLimits, ...]:
    """Every transport of master.cf. Raises ConfigError."""
    return tuple(
        _limits(settings, service)
        for service in settings.services
        if service.type != "inet" and service.command in POOLS
    )


def _limits(settings: Settings, service: Service) -> TransportLimits:
    name, key = service.name, service.key

    def number(parameter: str) -> int:
        return settings.number(parameter, key)

    initial = number(f"{name}_initial_destination_concurrency")
    concurrency = number(f"{name}_destination_concurrency_limit")
    return TransportLimits(
        name,
        POOLS[service.command],
        processes=_processes(settings, service),
        initial=min(initial, concurrency) if concurrency else initial,
        concurrency=concurrency,
        recipients=number(f"{name}_destination_recipient_limit"),
        positive=_feedback(settings, service, "positive"),
        negative=_feedback(settings, service, "negative"),
        cohorts=number(f"{name}_destination_concurrency_failed_cohort_limit"),
        rate_delay=float(number(f"{name}_destination_rate_delay")),
        transport_delay=float(number(f"{name}_transport_rate_delay")),
        lanes=number(f"{name}_delivery_slot_cost") > 0,
    )


def _processes(settings: Settings, service: Service) -> int:
    if service.maxproc.isdigit():
        return int(service.maxproc)
    if POOLS[service.command] == "carrier" and settings.entry("default_process_limit") is None:
        return _CARRIER_PROCESSES
    return settings.number("default_process_limit")


def _feedback(settings: Settings, service: Service, sign: str) -> Feedback:
    parameter = f"{service.name}_destination_concurrency_{sign}_feedback"
    try:
        return parse_feedback(settings.text(parameter, service.key))
    except FeedbackError as error:
        origin = settings.origin(parameter, service.key)
        if not origin.file:
            origin = settings.origin(f"default_destination_concurrency_{sign}_feedback")
        raise ConfigError(origin, f"{parameter}: {error}") from error
