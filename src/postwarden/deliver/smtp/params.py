"""What main.cf says about sending, compiled once for a transport: `Profile`, the same for SMTP and LMTP."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.deliver.smtp.quirks import workarounds
from postwarden.mail.transcript import Trouble, trouble_of
from postwarden.wire.smtp_states import BANNER, END

DATA = "data"


class SmtpParams(Struct, frozen=True):
    """View for a transport of type smtp."""

    best_mx_transport: str
    myhostname: str
    relayhost: str
    soft_bounce: bool
    connection_cache_ttl_limit: int
    disable_mime_output_conversion: bool
    minimal_backoff_time: int
    notify_classes: tuple[str, ...]
    double_bounce_sender: str
    myorigin: str
    mime_boundary_length_limit: int
    mime_nesting_limit: int
    smtp_helo_name: str
    smtp_always_send_ehlo: bool
    smtp_never_send_ehlo: bool
    smtp_skip_5xx_greeting: bool
    smtp_skip_quit_response: bool
    smtp_quote_rfc821_envelope: bool
    smtp_line_length_limit: int
    smtp_mx_address_limit: int
    smtp_mx_session_limit: int
    smtp_discard_ehlo_keywords: tuple[str, ...]
    smtp_address_verify_target: str
    smtp_discard_ehlo_keyword_address_maps: tuple[str, ...]
    smtp_reply_filter: tuple[str, ...]
    smtp_pix_workarounds: tuple[str, ...]
    smtp_pix_workaround_maps: tuple[str, ...]
    smtp_pix_workaround_threshold_time: int
    smtp_pix_workaround_delay_time: int
    smtp_per_request_deadline: bool
    smtp_min_data_rate: int
    smtp_connection_cache_destinations: tuple[str, ...]
    smtp_connection_cache_on_demand: bool
    smtp_connection_cache_time_limit: int
    smtp_connection_reuse_time_limit: int
    smtp_connection_reuse_count_limit: int
    smtp_bind_address: str
    smtp_bind_address6: str
    smtp_bind_address_enforce: bool
    smtp_send_xforward_command: bool
    smtp_delivery_status_filter: tuple[str, ...]
    smtp_generic_maps: tuple[str, ...]
    smtp_connect_timeout: int
    smtp_helo_timeout: int
    smtp_starttls_timeout: int
    smtp_xforward_timeout: int
    smtp_mail_timeout: int
    smtp_rcpt_timeout: int
    smtp_data_init_timeout: int
    smtp_data_xfer_timeout: int
    smtp_data_done_timeout: int
    smtp_rset_timeout: int
    smtp_quit_timeout: int
    smtp_tls_wrappermode: bool
    smtp_tls_loglevel: int
    smtp_tls_note_starttls_offer: bool


class LmtpParams(Struct, frozen=True):
    """View for a transport of type lmtp."""

    best_mx_transport: str
    lmtp_assume_final: bool
    myhostname: str
    soft_bounce: bool
    connection_cache_ttl_limit: int
    disable_mime_output_conversion: bool
    minimal_backoff_time: int
    notify_classes: tuple[str, ...]
    double_bounce_sender: str
    myorigin: str
    mime_boundary_length_limit: int
    mime_nesting_limit: int
    lmtp_lhlo_name: str
    lmtp_skip_5xx_greeting: bool
    lmtp_skip_quit_response: bool
    lmtp_quote_rfc821_envelope: bool
    lmtp_line_length_limit: int
    lmtp_mx_address_limit: int
    lmtp_mx_session_limit: int
    lmtp_discard_lhlo_keywords: tuple[str, ...]
    lmtp_address_verify_target: str
    lmtp_discard_lhlo_keyword_address_maps: tuple[str, ...]
    lmtp_reply_filter: tuple[str, ...]
    lmtp_pix_workarounds: tuple[str, ...]
    lmtp_pix_workaround_maps: tuple[str, ...]
    lmtp_pix_workaround_threshold_time: int
    lmtp_pix_workaround_delay_time: int
    lmtp_per_request_deadline: bool
    lmtp_min_data_rate: int
    lmtp_connection_cache_destinations: tuple[str, ...]
    lmtp_connection_cache_on_demand: bool
    lmtp_connection_cache_time_limit: int
    lmtp_connection_reuse_time_limit: int
    lmtp_connection_reuse_count_limit: int
    lmtp_bind_address: str
    lmtp_bind_address6: str
    lmtp_bind_address_enforce: bool
    lmtp_send_xforward_command: bool
    lmtp_delivery_status_filter: tuple[str, ...]
    lmtp_generic_maps: tuple[str, ...]
    lmtp_connect_timeout: int
    lmtp_lhlo_timeout: int
    lmtp_starttls_timeout: int
    lmtp_xforward_timeout: int
    lmtp_mail_timeout: int
    lmtp_rcpt_timeout: int
    lmtp_data_init_timeout: int
    lmtp_data_xfer_timeout: int
    lmtp_data_done_timeout: int
    lmtp_rset_timeout: int
    lmtp_quit_timeout: int
    lmtp_tls_wrappermode: bool
    lmtp_tls_loglevel: int
    lmtp_tls_note_starttls_offer: bool


class SmtpTlsParams(Struct, frozen=True):
    """TLS of a transport of type smtp."""

    myhostname: str
    smtp_tls_security_level: str
    smtp_use_tls: bool
    smtp_enforce_tls: bool
    smtp_tls_enforce_peername: bool
    smtp_tls_policy_maps: tuple[str, ...]
    smtp_fallback_relay: tuple[str, ...]
    smtp_tls_servername: str
    smtp_tls_verify_cert_match: tuple[str, ...]
    smtp_tls_secure_cert_match: tuple[str, ...]
    smtp_tls_fingerprint_cert_match: tuple[str, ...]
    smtp_tls_fingerprint_digest: str
    smtp_tls_protocols: tuple[str, ...]
    smtp_tls_mandatory_protocols: tuple[str, ...]
    smtp_tls_ciphers: str
    smtp_tls_mandatory_ciphers: str
    smtp_tls_exclude_ciphers: tuple[str, ...]
    smtp_tls_mandatory_exclude_ciphers: tuple[str, ...]
    smtp_tls_CAfile: str
    smtp_tls_CApath: str
    smtp_tls_cert_file: str
    smtp_tls_key_file: str
    smtp_tls_eccert_file: str
    smtp_tls_eckey_file: str
    smtp_tls_dcert_file: str
    smtp_tls_dkey_file: str
    smtp_tls_chain_files: tuple[str, ...]


class LmtpTlsParams(Struct, frozen=True):
    """TLS of a transport of type lmtp."""

    myhostname: str
    lmtp_tls_security_level: str
    lmtp_use_tls: bool
    lmtp_enforce_tls: bool
    lmtp_tls_enforce_peername: bool
    lmtp_tls_policy_maps: tuple[str, ...]
    lmtp_fallback_relay: tuple[str, ...]
    lmtp_tls_servername: str
    lmtp_tls_verify_cert_match: tuple[str, ...]
    lmtp_tls_secure_cert_match: tuple[str, ...]
    lmtp_tls_fingerprint_cert_match: tuple[str, ...]
    lmtp_tls_fingerprint_digest: str
    lmtp_tls_protocols: tuple[str, ...]
    lmtp_tls_mandatory_protocols: tuple[str, ...]
    lmtp_tls_ciphers: str
    lmtp_tls_mandatory_ciphers: str
    lmtp_tls_exclude_ciphers: tuple[str, ...]
    lmtp_tls_mandatory_exclude_ciphers: tuple[str, ...]
    lmtp_tls_CAfile: str
    lmtp_tls_CApath: str
    lmtp_tls_cert_file: str
    lmtp_tls_key_file: str
    lmtp_tls_eccert_file: str
    lmtp_tls_eckey_file: str
    lmtp_tls_dcert_file: str
    lmtp_tls_dkey_file: str
    lmtp_tls_chain_files: tuple[str, ...]


class Profile(Struct, frozen=True):
    """Settings of one transport. Times in seconds; `timeouts` is by the event whose reply is awaited."""

    lmtp: bool
    host_name: str
    """Our own name; a server that calls itself so is ourselves."""
    hello_name: str
    always_ehlo: bool
    never_ehlo: bool
    skip_5xx_greeting: bool
    skip_quit_response: bool
    quote: bool
    line_limit: int
    """Bytes without CRLF; 0: none."""
    address_limit: int
    session_limit: int
    discard: frozenset[str]
    verify_at_data: bool
    """An address is good when the server has taken DATA, not only RCPT."""
    firewall: frozenset[str]
    """Workarounds for a server behind a firewall that rewrites SMTP (smtp_pix_workarounds)."""
    firewall_after: int
    """How old a message must be for the dot to be delayed."""
    dot_delay: int
    per_request: bool
    """Time-outs are for a whole command and its whole reply, not for each piece of them."""
    data_rate: int
    """Bytes a second that make up for the time they take, with `per_request`."""
    reuse: bool
    """Of connections, to whatever destination."""
    reuse_for: frozenset[str]
    """Next-hop domains for which connections are reused in any case."""
    idle_time: int
    reuse_time: int
    reuse_count: int
    bind: tuple[str, str]
    """Source address for IPv4 and for IPv6; empty: the system's choice."""
    bind_enforce: bool
    xforward: bool
    connect_timeout: int
    """0: the system's own."""
    transfer_timeout: int
    timeouts: Mapping[str, int]
    tls_wrapper: bool
    tls_log: int
    tls_note_offer: bool
    relayhost: str
    soft_bounce: bool
    convert: bool
    """Content is made 7-bit for a server without 8BITMIME."""
    boundary_limit: int
    nesting_limit: int
    best_mx: str
    """`transport` or `transport:nexthop` for mail that would come back to us; empty: it is returned."""
    plaintext_after: int
    """How long a message must have waited before TLS that does not work is given up for it."""
    final: bool
    """A server without DSN is taken for one that delivers to mailboxes (lmtp_assume_final)."""
    tells: bool
    """The postmaster wants transcripts (notify_classes)."""
    double_bounce: str
    """Sender of our mail to the postmaster, in lower case."""


def check_words(settings: Settings, service: str, prefix: str) -> None:
    """Raises ConfigError."""
    name = f"{prefix}_address_verify_target"
    if (word := settings.text(name, service)) not in ("rcpt", DATA):
        raise ConfigError(settings.origin(name, service), f"{name}: {word!r} is neither rcpt nor data")


def smtp_profile(p: SmtpParams) -> Profile:
    return _profile(p, "smtp", p.smtp_helo_name, p.smtp_helo_timeout, p.smtp_discard_ehlo_keywords)


def lmtp_profile(p: LmtpParams) -> Profile:
    return _profile(p, "lmtp", p.lmtp_lhlo_name, p.lmtp_lhlo_timeout, p.lmtp_discard_lhlo_keywords)


def _profile(
    params: SmtpParams | LmtpParams, prefix: str, hello_name: str, hello_timeout: int, discard: tuple[str, ...]
) -> Profile:
    def get(name: str) -> object:
        return getattr(params, f"{prefix}_{name}")

    def flag(name: str) -> bool:
        return bool(get(name))

    def number(name: str) -> int:
        value = get(name)
        assert isinstance(value, int)
        return value

    return Profile(
        lmtp=prefix == "lmtp",
        host_name=params.myhostname,
        hello_name=hello_name,
        always_ehlo=prefix == "lmtp" or flag("always_send_ehlo"),
        never_ehlo=prefix != "lmtp" and flag("never_send_ehlo"),
        skip_5xx_greeting=flag("skip_5xx_greeting"),
        skip_quit_response=flag("skip_quit_response"),
        quote=flag("quote_rfc821_envelope"),
        line_limit=number("line_length_limit"),
        address_limit=number("mx_address_limit"),
        session_limit=number("mx_session_limit"),
        discard=frozenset(word.lower() for word in discard),
        verify_at_data=getattr(params, f"{prefix}_address_verify_target") == DATA,
        firewall=workarounds(" ".join(getattr(params, f"{prefix}_pix_workarounds"))),
        firewall_after=number("pix_workaround_threshold_time"),
        dot_delay=number("pix_workaround_delay_time"),
        per_request=flag("per_request_deadline"),
        data_rate=max(number("min_data_rate"), 1),
        reuse=flag("connection_cache_on_demand"),
        reuse_for=_lowered(params, f"{prefix}_connection_cache_destinations"),
        idle_time=min(number("connection_cache_time_limit"), params.connection_cache_ttl_limit),
        reuse_time=number("connection_reuse_time_limit"),
        reuse_count=number("connection_reuse_count_limit"),
        bind=(str(get("bind_address")).strip("[]"), str(get("bind_address6")).strip("[]")),
        bind_enforce=flag("bind_address_enforce"),
        xforward=flag("send_xforward_command"),
        connect_timeout=number("connect_timeout"),
        transfer_timeout=number("data_xfer_timeout"),
        timeouts=_timeouts(number, hello_timeout),
        tls_wrapper=flag("tls_wrappermode"),
        tls_log=number("tls_loglevel"),
        tls_note_offer=flag("tls_note_starttls_offer"),
        relayhost=params.relayhost if isinstance(params, SmtpParams) else "",
        soft_bounce=params.soft_bounce,
        convert=not params.disable_mime_output_conversion,
        boundary_limit=params.mime_boundary_length_limit,
        nesting_limit=params.mime_nesting_limit,
        best_mx=params.best_mx_transport,
        plaintext_after=params.minimal_backoff_time,
        final=isinstance(params, LmtpParams) and params.lmtp_assume_final,
        tells=bool(trouble_of(params.notify_classes) & Trouble.PROTOCOL),
        double_bounce=f"{params.double_bounce_sender}@{params.myorigin}".lower(),
    )


def _lowered(params: SmtpParams | LmtpParams, name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in getattr(params, name))


def _timeouts(number: Callable[[str], int], hello: int) -> dict[str, int]:
    return {
        BANNER: hello,
        "EHLO": hello,
        "HELO": hello,
        "LHLO": hello,
        "STARTTLS": number("starttls_timeout"),
        "XFORWARD": number("xforward_timeout"),
        "MAIL": number("mail_timeout"),
        "RCPT": number("rcpt_timeout"),
        "DATA": number("data_init_timeout"),
        END: number("data_done_timeout"),
        "RSET": number("rset_timeout"),
        "QUIT": number("quit_timeout"),
    }
