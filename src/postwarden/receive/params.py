"""The parameters that the SMTP server reads."""

from msgspec import Struct


class NoticeParams(Struct, frozen=True):
    """Of the transcripts that a postmaster gets."""

    myhostname: str
    myorigin: str
    mail_name: str
    notify_classes: tuple[str, ...]
    error_notice_recipient: str
    bounce_notice_recipient: str
    double_bounce_sender: str


class SmtpdParams(Struct, frozen=True):
    myhostname: str
    mail_name: str
    smtpd_banner: str
    smtpd_reject_footer: str
    postwarden_refusal_reference: bool
    smtpd_reject_footer_maps: tuple[str, ...]
    disable_vrfy_command: bool
    smtpd_helo_required: bool
    strict_rfc821_envelopes: bool
    allow_min_user: bool
    smtputf8_enable: bool
    strict_smtputf8: bool
    soft_bounce: bool
    fast_flush_domains: tuple[str, ...]
    parent_domain_matches_subdomains: tuple[str, ...]
    # sizes
    message_size_limit: int
    line_length_limit: int
    smtpd_recipient_limit: int
    smtpd_recipient_overshoot_limit: int
    # time
    smtpd_timeout: int
    smtpd_starttls_timeout: int
    smtpd_error_sleep_time: int
    smtpd_per_request_deadline: bool
    smtpd_min_data_rate: int
    ipc_timeout: int
    # misbehaviour
    smtpd_soft_error_limit: int
    smtpd_hard_error_limit: int
    smtpd_junk_command_limit: int
    smtpd_history_flush_threshold: int
    smtpd_forbidden_commands: tuple[str, ...]
    smtpd_noop_commands: tuple[str, ...]
    smtpd_command_filter: tuple[str, ...]
    smtpd_forbid_unauth_pipelining: bool
    smtpd_forbid_bare_newline: str
    smtpd_forbid_bare_newline_exclusions: tuple[str, ...]
    smtpd_forbid_bare_newline_reject_code: int
    # what is offered
    smtpd_discard_ehlo_keywords: tuple[str, ...]
    smtpd_discard_ehlo_keyword_address_maps: tuple[str, ...]
    smtpd_authorized_xclient_hosts: tuple[str, ...]
    smtpd_authorized_xforward_hosts: tuple[str, ...]
    inet_protocols: tuple[str, ...]
    # clients
    smtpd_client_port_logging: bool
    smtpd_client_event_limit_exceptions: tuple[str, ...]
    smtpd_client_ipv4_prefix_length: int
    smtpd_client_ipv6_prefix_length: int
    smtpd_client_connection_count_limit: int
    smtpd_client_connection_rate_limit: int
    smtpd_client_message_rate_limit: int
    smtpd_client_recipient_rate_limit: int
    smtpd_client_new_tls_session_rate_limit: int
    smtpd_delay_open_until_valid_rcpt: bool
    smtpd_delay_reject: bool
    # TLS
    smtpd_tls_security_level: str
    smtpd_use_tls: bool
    smtpd_enforce_tls: bool
    smtpd_tls_wrappermode: bool
    smtpd_tls_cert_file: str
    smtpd_tls_key_file: str
    smtpd_tls_eccert_file: str
    smtpd_tls_eckey_file: str
    smtpd_tls_dcert_file: str
    smtpd_tls_dkey_file: str
    smtpd_tls_chain_files: tuple[str, ...]
    tls_server_sni_maps: tuple[str, ...]
    smtpd_tls_CAfile: str
    smtpd_tls_CApath: str
    smtpd_tls_dh1024_param_file: str
    smtpd_tls_protocols: tuple[str, ...]
    smtpd_tls_mandatory_protocols: tuple[str, ...]
    smtpd_tls_ciphers: str
    smtpd_tls_mandatory_ciphers: str
    smtpd_tls_exclude_ciphers: tuple[str, ...]
    smtpd_tls_mandatory_exclude_ciphers: tuple[str, ...]
    smtpd_tls_loglevel: int
    smtpd_tls_received_header: bool
    smtpd_hide_client_session: bool
    cleanup_service_name: str
    content_filter: str


class SubmitParams(Struct, frozen=True):
    """Of the pickup service."""

    myhostname: str
    mail_name: str
    message_size_limit: int
    cleanup_service_name: str
    content_filter: str
    smtputf8_enable: bool
    smtputf8_autodetect_classes: tuple[str, ...]
    authorized_submit_users: tuple[str, ...]
    local_login_sender_maps: tuple[str, ...]
    empty_address_local_login_sender_maps_lookup_key: str
    recipient_delimiter: str
    postwarden_submit_limit: int
