"""The settings that the spool reads; field names are parameter names."""

from msgspec import Struct


class SpoolParams(Struct, frozen=True):
    queue_directory: str
    queue_minfree: int
    message_size_limit: int
    enable_long_queue_ids: bool
