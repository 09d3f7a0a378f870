"""What the courier reads of main.cf."""

from msgspec import Struct


class CourierParams(Struct, frozen=True):
    address_verify_pending_request_limit: int
    authorized_flush_users: tuple[str, ...]
    authorized_mailq_users: tuple[str, ...]
    bounce_queue_lifetime: int
    default_filter_nexthop: str
    delay_warning_time: int
    double_bounce_sender: str
    error_notice_recipient: str
    fast_flush_domains: tuple[str, ...]
    in_flow_delay: int
    mail_name: str
    maximal_backoff_time: int
    maximal_queue_lifetime: int
    minimal_backoff_time: int
    myhostname: str
    myorigin: str
    parent_domain_matches_subdomains: tuple[str, ...]
    qmgr_message_active_limit: int
    qmgr_message_recipient_limit: int
    qmgr_message_recipient_minimum: int
    queue_run_delay: int
    recipient_delimiter: str
    soft_bounce: bool
    transport_retry_time: int
    defer_transports: tuple[str, ...]
