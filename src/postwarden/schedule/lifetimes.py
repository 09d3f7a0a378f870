"""How long a message is tried, how long it waits between two attempts, and when its sender is told that it is late."""

from postwarden.mail.envelope import Envelope
from postwarden.schedule.params import CourierParams


def wait(age: float, params: CourierParams) -> float:
    """The older a message, the longer it waits: as long as it has waited, within the bounds."""
    return min(max(age, params.minimal_backoff_time), params.maximal_backoff_time)


def over(envelope: Envelope, age: float, params: CourierParams) -> bool:
    """Mail that nobody can be told of is tried for bounce_queue_lifetime."""
    return age >= (params.maximal_queue_lifetime if envelope.sender else params.bounce_queue_lifetime)


def late(age: float, params: CourierParams) -> bool:
    return 0 < params.delay_warning_time <= age + 1.0  # a queue run may come a moment too early, the next is far
