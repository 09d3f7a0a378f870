"""What pipe reads of the configuration."""

from msgspec import Struct


class PipeParams(Struct, frozen=True):
    enable_original_recipient: bool
    export_environment: tuple[str, ...]
    import_environment: tuple[str, ...]
    mail_owner: str
    pipe_delivery_status_filter: tuple[str, ...]
    recipient_delimiter: str
    soft_bounce: bool
