"""What reports read of main.cf."""

from msgspec import Struct


class BounceParams(Struct, frozen=True):
    bounce_notice_recipient: str
    bounce_queue_lifetime: int
    bounce_size_limit: int
    bounce_template_file: str
    delay_notice_recipient: str
    delay_warning_time: int
    confirm_delay_cleared: bool
    disable_verp_bounces: bool
    double_bounce_sender: str
    enable_threaded_bounces: bool
    header_from_format: str
    mail_name: str
    maximal_queue_lifetime: int
    myhostname: str
    myorigin: str
    notify_classes: tuple[str, ...]
    postwarden_bounce_reasons: bool
    smtputf8_enable: bool
