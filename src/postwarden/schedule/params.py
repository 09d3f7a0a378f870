"""What the courier reads of main.cf."""

from msgspec import Struct


class CourierParams(Struct, frozen=True):
    in_flow_delay: int
    maximal_backoff_time: int
    minimal_backoff_time: int
    qmgr_message_active_limit: int
    queue_run_delay: int
    recipient_delimiter: str
    soft_bounce: bool
    defer_transports: tuple[str, ...]
