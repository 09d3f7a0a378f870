"""What a setting of each parameter does: which work, which are accepted without effect and why, which are refused.

A name in none of the lists is known and does nothing yet, and `check` says so where an operator sets it. The tests
compare WORKS with what the stages read.
"""

from collections.abc import Mapping
from types import MappingProxyType

from postwarden.config.parameters.kinds import Parameter, Standing

_WORKING = """
    alias_database alias_maps compatibility_level config_directory data_directory default_database_type
    default_process_limit defer_transports disable_dns_lookups disable_mime_output_conversion enable_long_queue_ids
    ignore_mx_lookup_error in_flow_delay inet_interfaces inet_protocols known_tcp_ports lmtp_address_preference
    lmtp_balance_inet_protocols lmtp_bind_address lmtp_bind_address6 lmtp_bind_address_enforce lmtp_connect_timeout
    lmtp_connection_cache_destinations lmtp_connection_cache_on_demand lmtp_connection_cache_time_limit
    lmtp_connection_reuse_count_limit lmtp_connection_reuse_time_limit lmtp_data_done_timeout lmtp_data_init_timeout
    lmtp_data_xfer_timeout lmtp_discard_lhlo_keywords lmtp_dns_support_level lmtp_enforce_tls lmtp_fallback_relay
    lmtp_host_lookup lmtp_lhlo_name lmtp_lhlo_timeout lmtp_line_length_limit lmtp_mail_timeout lmtp_mx_address_limit
    lmtp_mx_session_limit lmtp_quit_timeout lmtp_quote_rfc821_envelope lmtp_randomize_addresses lmtp_rcpt_timeout
    lmtp_rset_timeout lmtp_send_xforward_command lmtp_skip_5xx_greeting lmtp_skip_quit_response
    lmtp_starttls_timeout lmtp_tcp_port lmtp_tls_loglevel lmtp_tls_note_starttls_offer lmtp_tls_security_level
    lmtp_tls_servername lmtp_tls_wrappermode lmtp_use_tls lmtp_xforward_timeout mail_name mail_owner mail_version
    maillog_file maximal_backoff_time message_size_limit mime_nesting_limit minimal_backoff_time mydomain myhostname
    mynetworks_style parent_domain_matches_subdomains postwarden_dns_servers process_name qmgr_message_active_limit
    queue_directory queue_minfree queue_run_delay recipient_delimiter relayhost smtp_address_preference
    smtp_always_send_ehlo smtp_balance_inet_protocols smtp_bind_address smtp_bind_address6 smtp_bind_address_enforce
    smtp_connect_timeout smtp_connection_cache_destinations smtp_connection_cache_on_demand
    smtp_connection_cache_time_limit smtp_connection_reuse_count_limit smtp_connection_reuse_time_limit
    smtp_data_done_timeout smtp_data_init_timeout smtp_data_xfer_timeout smtp_defer_if_no_mx_address_found
    smtp_discard_ehlo_keywords smtp_dns_support_level smtp_enforce_tls smtp_fallback_relay smtp_helo_name
    smtp_helo_timeout smtp_host_lookup smtp_line_length_limit smtp_mail_timeout smtp_mx_address_limit
    smtp_mx_session_limit smtp_never_send_ehlo smtp_quit_timeout smtp_quote_rfc821_envelope smtp_randomize_addresses
    smtp_rcpt_timeout smtp_rset_timeout smtp_send_xforward_command smtp_skip_5xx_greeting smtp_skip_quit_response
    smtp_starttls_timeout smtp_tcp_port smtp_tls_loglevel smtp_tls_note_starttls_offer smtp_tls_security_level
    smtp_tls_servername smtp_tls_wrappermode smtp_use_tls smtp_xforward_timeout soft_bounce stress syslog_facility
    syslog_name
    allow_mail_to_files command_time_limit default_privs deliver_lock_attempts deliver_lock_delay
    enable_original_recipient expand_owner_alias frozen_delivered_to home_mailbox mail_spool_directory
    mailbox_delivery_lock mailbox_size_limit owner_request_special prepend_delivered_header
    propagate_unmatched_extensions reset_owner_alias stale_lock_time strict_mailbox_ownership virtual_gid_maps
    virtual_mailbox_base virtual_mailbox_limit virtual_mailbox_lock virtual_mailbox_maps virtual_minimum_uid
    virtual_uid_maps
"""
WORKS = frozenset(_WORKING.split())

_BUILT_IN = "the roles of the gateway do this themselves"
_PATH = "only a path that Postfix's own scripts and manuals use"
_PROCESS = "processes are not made and ended for each request"
_QUEUE = "the spool is not laid out in directories of single files"

_REASONS = (
    (
        _BUILT_IN,
        """
        address_verify_service_name anvil_status_update_time application_event_drain_time bounce_service_name
        connection_cache_protocol_timeout connection_cache_service_name connection_cache_status_update_time
        defer_service_name flush_service_name pickup_service_name postlog_service_name postlogd_watchdog_timeout
        proxymap_service_name proxywrite_service_name queue_service_name rewrite_service_name service_name
        showq_service_name smtpd_service_name tlsmgr_service_name trace_service_name trigger_timeout
        proxy_read_maps proxy_write_maps qmgr_ipc_timeout qmgr_daemon_timeout qmgr_clog_warn_time
        """,
    ),
    (
        _PATH,
        """
        command_directory daemon_directory html_directory mailq_path manpage_directory meta_directory newaliases_path
        readme_directory sample_directory sendmail_path shlib_directory mail_release_date openssl_path
        alternate_config_directories
        """,
    ),
    (
        _PROCESS,
        """
        daemon_timeout debugger_command fork_attempts fork_delay ipc_idle ipc_timeout ipc_ttl max_idle max_use
        process_id service_throttle_time setgid_group import_environment
        """,
    ),
    (_QUEUE, "hash_queue_depth hash_queue_names dont_remove queue_file_attribute_count_limit"),
    ("the index of a table needs no size in advance", "lmdb_map_size berkeley_db_create_buffer_size"),
    ("Berkeley DB files are not read", "berkeley_db_read_buffer_size"),
    ("the kernel's random numbers are used", "tls_daemon_random_bytes tls_random_bytes tls_random_exchange_name"),
    ("the kernel's random numbers are used", "tls_random_prng_update_period tls_random_reseed_period"),
    ("the kernel's random numbers are used", "tls_random_source"),
    ("comsat is not told of new mail", "biff"),
    ("for tests of Postfix itself", "fault_injection_code destination_concurrency_feedback_debug"),
    ("OpenSSL no longer has it", "smtpd_tls_dh512_param_file tls_export_cipherlist"),
)

NO_EFFECT: Mapping[str, str] = MappingProxyType({name: why for why, names in _REASONS for name in names.split()})

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "smtp_tls_per_site": "use smtp_tls_policy_maps",
        "lmtp_tls_per_site": "use lmtp_tls_policy_maps",
        "maps_rbl_domains": "use reject_rbl_client in smtpd_recipient_restrictions",
    }
)
"""Set to anything, they stop the start; the text is the cure."""


def standing(parameter: Parameter) -> tuple[Standing, str]:
    """The standing, and the reason or the cure."""
    name = parameter.name
    if name in WORKS or parameter.works:
        return Standing.WORKS, ""
    if name in NO_EFFECT:
        return Standing.NO_EFFECT, NO_EFFECT[name]
    if name in REFUSED:
        return Standing.REFUSED, REFUSED[name]
    return Standing.NOT_YET, ""
