"""What policy reads of main.cf, for one smtpd service."""

from msgspec import Struct


class PolicyParams(Struct, frozen=True):
    mynetworks: tuple[str, ...]
    parent_domain_matches_subdomains: tuple[str, ...]
    recipient_delimiter: str
    smtpd_delay_reject: bool
    smtpd_client_restrictions: tuple[str, ...]
    smtpd_helo_restrictions: tuple[str, ...]
    smtpd_sender_restrictions: tuple[str, ...]
    smtpd_relay_restrictions: tuple[str, ...]
    smtpd_recipient_restrictions: tuple[str, ...]
    smtpd_data_restrictions: tuple[str, ...]
    smtpd_end_of_data_restrictions: tuple[str, ...]
    smtpd_etrn_restrictions: tuple[str, ...]
    smtpd_relay_before_recipient_restrictions: bool
    smtpd_sasl_auth_enable: bool
    smtpd_restriction_classes: tuple[str, ...]
    smtpd_reject_unlisted_recipient: bool
    smtpd_reject_unlisted_sender: bool
    smtpd_null_access_lookup_key: str
    allow_untrusted_routing: bool
    soft_bounce: bool
    double_bounce_sender: str
    show_user_unknown_table_name: bool
    reject_code: int
    defer_code: int
    access_map_reject_code: int
    access_map_defer_code: int
    relay_domains_reject_code: int
    multi_recipient_bounce_reject_code: int
    non_fqdn_reject_code: int
    plaintext_reject_code: int
    invalid_hostname_reject_code: int
    unknown_client_reject_code: int
    unknown_local_recipient_reject_code: int
    unknown_relay_recipient_reject_code: int
    unknown_virtual_alias_reject_code: int
    unknown_virtual_mailbox_reject_code: int
    canonical_maps: tuple[str, ...]
    recipient_canonical_maps: tuple[str, ...]
    sender_canonical_maps: tuple[str, ...]
    virtual_alias_maps: tuple[str, ...]
    virtual_mailbox_maps: tuple[str, ...]
    local_recipient_maps: tuple[str, ...]
    relay_recipient_maps: tuple[str, ...]
    default_rbl_reply: str
    inet_protocols: tuple[str, ...]
    maps_rbl_reject_code: int
    permit_mx_backup_networks: tuple[str, ...]
    proxy_interfaces: tuple[str, ...]
    queue_directory: str
    rbl_reply_maps: tuple[str, ...]
    smtpd_expansion_filter: str
    smtpd_policy_service_default_action: str
    smtpd_policy_service_max_idle: int
    smtpd_policy_service_max_ttl: int
    smtpd_policy_service_policy_context: str
    smtpd_policy_service_request_limit: int
    smtpd_policy_service_retry_delay: int
    smtpd_policy_service_timeout: int
    smtpd_policy_service_try_limit: int
    smtpd_sender_login_maps: tuple[str, ...]
    address_verify_sender: str
    address_verify_sender_ttl: int
    unknown_address_reject_code: int
    unknown_address_tempfail_action: str
    unknown_helo_hostname_tempfail_action: str
    unknown_hostname_reject_code: int
    unverified_recipient_defer_code: int
    unverified_recipient_reject_code: int
    unverified_recipient_reject_reason: str
    unverified_recipient_tempfail_action: str
    unverified_sender_defer_code: int
    unverified_sender_reject_code: int
    unverified_sender_reject_reason: str
    unverified_sender_tempfail_action: str


class PollParams(Struct, frozen=True):
    """How long a client waits for an address to be verified."""

    address_verify_poll_count: int
    address_verify_poll_delay: int

    @property
    def seconds(self) -> float:
        """smtpd(8) asks so often, and sleeps between."""
        return float(max(0, self.address_verify_poll_count - 1) * self.address_verify_poll_delay)
