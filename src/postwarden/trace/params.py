"""What the store of decisions reads of main.cf."""

from msgspec import Struct


class TraceParams(Struct, frozen=True):
    postwarden_trace: bool
    postwarden_trace_lifetime: int
    postwarden_trace_size_limit: int
    queue_directory: str
