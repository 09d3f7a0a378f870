"""What a setting of each parameter does: which work, which are accepted without effect and why, which are refused.

A name in none of the lists is known and does nothing yet, and `check` says so where an operator sets it. The tests
compare WORKS with what the stages read.
"""

from collections.abc import Mapping
from types import MappingProxyType

from postwarden.config.parameters.kinds import Parameter, Standing

_WORKING = """
    2bounce_notice_recipient access_map_defer_code access_map_reject_code address_verify_cache_cleanup_interval
    address_verify_default_transport address_verify_local_transport address_verify_map address_verify_negative_cache
    address_verify_negative_expire_time address_verify_negative_refresh_time address_verify_pending_request_limit
    address_verify_poll_count address_verify_poll_delay address_verify_positive_expire_time
    address_verify_positive_refresh_time address_verify_relay_transport address_verify_relayhost
    address_verify_sender address_verify_sender_dependent_default_transport_maps
    address_verify_sender_dependent_relayhost_maps address_verify_sender_ttl address_verify_transport_maps
    address_verify_virtual_transport alias_database alias_maps
    allow_mail_to_commands allow_mail_to_files allow_min_user allow_percent_hack
    allow_srv_lookup_fallback allow_untrusted_routing
    always_add_missing_headers always_bcc anvil_rate_time_unit append_at_myorigin append_dot_mydomain
    authorized_flush_users authorized_mailq_users authorized_submit_users best_mx_transport bounce_notice_recipient
    bounce_queue_lifetime bounce_size_limit bounce_template_file canonical_classes canonical_maps
    cleanup_service_name command_execution_directory command_expansion_filter command_time_limit compatibility_level
    config_directory confirm_delay_cleared connection_cache_ttl_limit content_filter data_directory
    daemon_table_open_error_is_fatal
    default_database_type default_delivery_status_filter
    default_filter_nexthop default_privs default_process_limit default_rbl_reply
    default_transport default_verp_delimiters defer_code defer_transports
    delay_logging_resolution_limit delay_notice_recipient delay_warning_time
    deliver_lock_attempts deliver_lock_delay disable_dns_lookups disable_mime_output_conversion disable_verp_bounces
    disable_vrfy_command double_bounce_sender duplicate_filter_limit
    empty_address_default_transport_maps_lookup_key empty_address_local_login_sender_maps_lookup_key
    empty_address_recipient empty_address_relayhost_maps_lookup_key enable_long_queue_ids
    enable_original_recipient enable_threaded_bounces error_notice_recipient execution_directory_expansion_filter
    expand_owner_alias export_environment fallback_transport fallback_transport_maps fast_flush_domains
    forward_expansion_filter forward_path frozen_delivered_to header_address_token_limit header_from_format
    header_size_limit home_mailbox hopcount_limit ignore_mx_lookup_error
    ignore_srv_lookup_error import_environment in_flow_delay
    inet_interfaces inet_protocols info_log_address_format
    initial_destination_concurrency invalid_hostname_reject_code ipc_timeout
    known_tcp_ports line_length_limit lmtp_address_preference lmtp_address_verify_target
    lmtp_assume_final lmtp_balance_inet_protocols
    lmtp_bind_address lmtp_bind_address6 lmtp_bind_address_enforce
    lmtp_cname_overrides_servername lmtp_connect_timeout
    lmtp_connection_cache_destinations lmtp_connection_cache_on_demand lmtp_connection_cache_time_limit
    lmtp_connection_reuse_count_limit lmtp_connection_reuse_time_limit lmtp_data_done_timeout lmtp_data_init_timeout
    lmtp_data_xfer_timeout lmtp_delivery_status_filter lmtp_discard_lhlo_keyword_address_maps
    lmtp_discard_lhlo_keywords
    lmtp_dns_reply_filter lmtp_dns_resolver_options lmtp_dns_support_level
    lmtp_enforce_tls lmtp_fallback_relay lmtp_generic_maps lmtp_host_lookup lmtp_lhlo_name lmtp_lhlo_timeout
    lmtp_line_length_limit lmtp_mail_timeout lmtp_min_data_rate
    lmtp_mx_address_limit lmtp_mx_session_limit lmtp_per_request_deadline
    lmtp_pix_workaround_delay_time lmtp_pix_workaround_maps
    lmtp_pix_workaround_threshold_time
    lmtp_pix_workarounds lmtp_quit_timeout
    lmtp_quote_rfc821_envelope
    lmtp_randomize_addresses lmtp_rcpt_timeout lmtp_reply_filter
    lmtp_rset_timeout lmtp_send_xforward_command lmtp_skip_5xx_greeting
    lmtp_skip_quit_response lmtp_starttls_timeout lmtp_tcp_port lmtp_tls_CAfile lmtp_tls_CApath lmtp_tls_cert_file
    lmtp_tls_chain_files lmtp_tls_ciphers lmtp_tls_dcert_file lmtp_tls_dkey_file lmtp_tls_eccert_file
    lmtp_tls_eckey_file lmtp_tls_enforce_peername lmtp_tls_exclude_ciphers lmtp_tls_fingerprint_cert_match
    lmtp_tls_fingerprint_digest lmtp_tls_key_file lmtp_tls_loglevel lmtp_tls_mandatory_ciphers
    lmtp_tls_mandatory_exclude_ciphers lmtp_tls_mandatory_protocols lmtp_tls_note_starttls_offer
    lmtp_tls_policy_maps lmtp_tls_protocols lmtp_tls_secure_cert_match lmtp_tls_security_level lmtp_tls_servername
    lmtp_tls_verify_cert_match lmtp_tls_wrappermode lmtp_use_tls lmtp_xforward_timeout local_command_shell
    local_delivery_status_filter
    local_header_rewrite_clients local_login_sender_maps local_recipient_maps local_transport luser_relay mail_name
    mail_owner mail_spool_directory mail_version mailbox_command mailbox_command_maps mailbox_delivery_lock
    mailbox_size_limit mailbox_transport mailbox_transport_maps maillog_file maillog_file_compressor
    maillog_file_rotate_suffix maps_rbl_reject_code masquerade_classes masquerade_domains masquerade_exceptions
    master_service_disable
    maximal_backoff_time maximal_queue_lifetime message_drop_headers message_size_limit
    mime_boundary_length_limit mime_nesting_limit
    minimal_backoff_time multi_instance_name multi_recipient_bounce_reject_code mydestination mydomain myhostname
    mynetworks mynetworks_style myorigin non_fqdn_reject_code notify_classes owner_request_special
    parent_domain_matches_subdomains permit_mx_backup_networks
    pipe_delivery_status_filter plaintext_reject_code postwarden_alias_sources postscreen_upstream_proxy_protocol
    postscreen_upstream_proxy_timeout
    postwarden_bounce_reasons postwarden_dns_servers postwarden_recipient_expansion_limit
    postwarden_refusal_reference postwarden_session_limit postwarden_submit_limit postwarden_trace
    postwarden_trace_lifetime postwarden_trace_size_limit
    prepend_delivered_header process_name propagate_unmatched_extensions proxy_interfaces proxy_read_maps
    qmgr_message_active_limit qmgr_message_recipient_limit qmgr_message_recipient_minimum queue_directory
    queue_minfree queue_run_delay rbl_reply_maps receive_override_options recipient_bcc_maps
    recipient_canonical_classes recipient_canonical_maps recipient_delimiter reject_code reject_tempfail_action
    relay_domains relay_domains_reject_code relay_recipient_maps relay_transport relayhost relocated_maps
    relocated_prefix_enable remote_header_rewrite_domain require_home_directory reset_owner_alias
    resolve_dequoted_address resolve_null_domain resolve_numeric_domain sender_bcc_maps sender_canonical_classes
    sender_canonical_maps sender_dependent_default_transport_maps sender_dependent_relayhost_maps
    sendmail_fix_line_endings show_user_unknown_table_name smtp_address_preference smtp_address_verify_target
    smtp_always_send_ehlo smtp_balance_inet_protocols smtp_bind_address smtp_bind_address6 smtp_bind_address_enforce
    smtp_cname_overrides_servername
    smtp_connect_timeout smtp_connection_cache_destinations smtp_connection_cache_on_demand
    smtp_connection_cache_time_limit smtp_connection_reuse_count_limit smtp_connection_reuse_time_limit
    smtp_data_done_timeout smtp_data_init_timeout smtp_data_xfer_timeout smtp_defer_if_no_mx_address_found
    smtp_delivery_status_filter smtp_discard_ehlo_keyword_address_maps
    smtp_discard_ehlo_keywords smtp_dns_reply_filter smtp_dns_resolver_options
    smtp_dns_support_level smtp_enforce_tls
    smtp_fallback_relay smtp_generic_maps smtp_helo_name smtp_helo_timeout smtp_host_lookup
    smtp_line_length_limit smtp_mail_timeout smtp_min_data_rate
    smtp_mx_address_limit smtp_mx_session_limit smtp_never_send_ehlo
    smtp_per_request_deadline
    smtp_pix_workaround_delay_time
    smtp_pix_workaround_maps smtp_pix_workaround_threshold_time
    smtp_pix_workarounds
    smtp_quit_timeout smtp_quote_rfc821_envelope
    smtp_randomize_addresses smtp_rcpt_timeout smtp_reply_filter
    smtp_rset_timeout smtp_send_xforward_command smtp_skip_5xx_greeting
    smtp_skip_quit_response smtp_starttls_timeout smtp_tcp_port smtp_tls_CAfile smtp_tls_CApath smtp_tls_cert_file
    smtp_tls_chain_files smtp_tls_ciphers smtp_tls_dcert_file smtp_tls_dkey_file smtp_tls_eccert_file
    smtp_tls_eckey_file smtp_tls_enforce_peername smtp_tls_exclude_ciphers smtp_tls_fingerprint_cert_match
    smtp_tls_fingerprint_digest smtp_tls_key_file smtp_tls_loglevel smtp_tls_mandatory_ciphers
    smtp_tls_mandatory_exclude_ciphers smtp_tls_mandatory_protocols smtp_tls_note_starttls_offer
    smtp_tls_policy_maps smtp_tls_protocols smtp_tls_secure_cert_match smtp_tls_security_level smtp_tls_servername
    smtp_tls_verify_cert_match smtp_tls_wrappermode smtp_use_tls smtp_xforward_timeout
    smtpd_authorized_xclient_hosts smtpd_authorized_xforward_hosts smtpd_banner smtpd_client_connection_count_limit
    smtpd_client_connection_rate_limit smtpd_client_event_limit_exceptions smtpd_client_ipv4_prefix_length
    smtpd_client_ipv6_prefix_length smtpd_client_message_rate_limit smtpd_client_new_tls_session_rate_limit
    smtpd_client_port_logging
    smtpd_client_recipient_rate_limit smtpd_client_restrictions smtpd_data_restrictions smtpd_command_filter
    smtpd_delay_open_until_valid_rcpt smtpd_delay_reject smtpd_discard_ehlo_keyword_address_maps
    smtpd_discard_ehlo_keywords smtpd_end_of_data_restrictions smtpd_enforce_tls smtpd_error_sleep_time
    smtpd_dns_reply_filter
    smtpd_etrn_restrictions smtpd_expansion_filter smtpd_forbid_bare_newline smtpd_forbid_bare_newline_exclusions
    smtpd_forbid_bare_newline_reject_code smtpd_forbid_unauth_pipelining smtpd_forbidden_commands
    smtpd_hard_error_limit smtpd_helo_required smtpd_helo_restrictions smtpd_hide_client_session
    smtpd_history_flush_threshold
    smtpd_junk_command_limit smtpd_min_data_rate smtpd_noop_commands smtpd_null_access_lookup_key
    smtpd_peername_lookup smtpd_per_request_deadline smtpd_policy_service_default_action
    smtpd_policy_service_max_idle smtpd_policy_service_max_ttl smtpd_policy_service_policy_context
    smtpd_policy_service_request_limit smtpd_policy_service_retry_delay smtpd_policy_service_timeout
    smtpd_policy_service_try_limit smtpd_recipient_limit smtpd_recipient_overshoot_limit
    smtpd_recipient_restrictions smtpd_reject_footer smtpd_reject_footer_maps smtpd_reject_unlisted_recipient
    smtpd_reject_unlisted_sender smtpd_relay_before_recipient_restrictions smtpd_relay_restrictions
    smtpd_restriction_classes smtpd_sender_login_maps smtpd_sender_restrictions smtpd_soft_error_limit
    smtpd_starttls_timeout smtpd_timeout smtpd_tls_CAfile smtpd_tls_CApath smtpd_tls_cert_file smtpd_tls_chain_files
    smtpd_tls_ciphers smtpd_tls_dcert_file smtpd_tls_dh1024_param_file smtpd_tls_dkey_file smtpd_tls_eccert_file
    smtpd_tls_eckey_file smtpd_tls_exclude_ciphers smtpd_tls_key_file smtpd_tls_loglevel smtpd_tls_mandatory_ciphers
    smtpd_tls_mandatory_exclude_ciphers smtpd_tls_mandatory_protocols smtpd_tls_protocols smtpd_tls_received_header
    smtpd_tls_security_level smtpd_tls_wrappermode smtpd_use_tls smtputf8_autodetect_classes smtputf8_enable
    smtpd_upstream_proxy_protocol smtpd_upstream_proxy_timeout
    soft_bounce stale_lock_time stress strict_mailbox_ownership strict_rfc821_envelopes strict_smtputf8
    sun_mailtool_compatibility swap_bangpath
    syslog_facility syslog_name tls_append_default_CA tls_disable_workarounds tls_export_cipherlist tcp_windowsize
    tls_high_cipherlist tls_low_cipherlist tls_medium_cipherlist tls_null_cipherlist tls_preempt_cipherlist
    tls_server_sni_maps tls_ssl_options tls_wildcard_matches_multiple_labels transport_maps transport_retry_time
    undisclosed_recipients_header unknown_address_reject_code unknown_address_tempfail_action
    unknown_client_reject_code unknown_helo_hostname_tempfail_action unknown_hostname_reject_code
    unknown_local_recipient_reject_code unknown_relay_recipient_reject_code unknown_virtual_alias_reject_code
    unknown_virtual_mailbox_reject_code unverified_recipient_defer_code unverified_recipient_reject_code
    unverified_recipient_reject_reason unverified_recipient_tempfail_action unverified_sender_defer_code
    unverified_sender_reject_code unverified_sender_reject_reason unverified_sender_tempfail_action use_srv_lookup
    verp_delimiter_filter virtual_alias_address_length_limit
    virtual_alias_domains virtual_alias_expansion_limit virtual_alias_maps virtual_alias_recursion_limit
    virtual_delivery_status_filter
    virtual_gid_maps virtual_mailbox_base virtual_mailbox_domains virtual_mailbox_limit virtual_mailbox_lock
    virtual_mailbox_maps virtual_minimum_uid virtual_transport virtual_uid_maps
"""
WORKS = frozenset(_WORKING.split())

WORKING_SUFFIXES = (
    "_initial_destination_concurrency",
    "_destination_concurrency_limit",
    "_destination_concurrency_failed_cohort_limit",
    "_destination_concurrency_negative_feedback",
    "_destination_concurrency_positive_feedback",
    "_destination_rate_delay",
    "_destination_recipient_limit",
    "_delivery_slot_cost",
    "_time_limit",
    "_transport_rate_delay",
)
"""Behind the name of a transport."""

_BUILT_IN = "the roles of the gateway do this themselves"
_PATH = "only a path that Postfix's own scripts and manuals use"
_PROCESS = "processes are not made and ended for each request"
_QUEUE = "the spool is not laid out in directories of single files"

_TURNS = "messages of few and of many deliveries take turns, unless the delivery slot cost is 0"
_WHOLE = "the recipients of a message come into memory with it, qmgr_message_recipient_limit of all messages"

NO_EFFECT_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        "_delivery_slot_discount": _TURNS,
        "_delivery_slot_loan": _TURNS,
        "_minimum_delivery_slots": _TURNS,
        "_extra_recipient_limit": _WHOLE,
        "_recipient_limit": _WHOLE,
        "_recipient_refill_delay": _WHOLE,
        "_recipient_refill_limit": _WHOLE,
    }
)
"""Behind the name of a transport, or `default`."""

_REASONS = (
    (
        _BUILT_IN,
        """
        address_verify_service_name anvil_status_update_time application_event_drain_time bounce_service_name
        connection_cache_protocol_timeout connection_cache_service_name connection_cache_status_update_time
        defer_service_name flush_service_name pickup_service_name postlog_service_name postlogd_watchdog_timeout
        proxymap_service_name proxywrite_service_name queue_service_name rewrite_service_name service_name
        showq_service_name smtpd_service_name tlsmgr_service_name trace_service_name trigger_timeout
        proxy_write_maps qmgr_ipc_timeout qmgr_daemon_timeout qmgr_clog_warn_time
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
        daemon_timeout debugger_command fork_attempts fork_delay ipc_idle ipc_ttl max_idle max_use
        process_id service_throttle_time setgid_group
        """,
    ),
    (
        _QUEUE,
        """
        backwards_bounce_logfile_compatibility dont_remove hash_queue_depth hash_queue_names
        queue_file_attribute_count_limit
        """,
    ),
    ("the index of a table needs no size in advance", "lmdb_map_size berkeley_db_create_buffer_size"),
    (
        "Berkeley DB files are not read",
        """
        berkeley_db_read_buffer_size default_cache_db_type non_bdb_custom_mapping
        non_bdb_migration_allow_root_prefixes non_bdb_migration_allow_user_prefixes non_bdb_migration_level
        """,
    ),
    ("the kernel's random numbers are used", "tls_daemon_random_bytes tls_random_bytes tls_random_exchange_name"),
    ("the kernel's random numbers are used", "tls_random_prng_update_period tls_random_reseed_period"),
    ("the kernel's random numbers are used", "tls_random_source"),
    ("comsat is not told of new mail", "biff"),
    ("for tests of Postfix itself", "fault_injection_code destination_concurrency_feedback_debug"),
    ("the queue is sorted by due time: nothing is skipped", "qmgr_fudge_factor"),
    ("what waits for a site is noted with the message", "fast_flush_purge_time fast_flush_refresh_time"),
    (
        "sessions are resumed by tickets, which need no data base",
        """
        smtpd_tls_always_issue_session_ids smtpd_tls_session_cache_database smtpd_tls_session_cache_timeout
        tls_session_ticket_cipher
        """,
    ),
    (
        "each connection has a TLS session of its own; connections themselves are kept",
        """
        lmtp_tls_session_cache_database lmtp_tls_session_cache_timeout smtp_tls_session_cache_database
        smtp_tls_session_cache_timeout
        """,
    ),
    (
        "connections with TLS are kept and used again as others are",
        "lmtp_tls_connection_reuse smtp_tls_connection_reuse",
    ),
    ("as in Postfix since 3.6: the curve that both sides like best", "smtpd_tls_eecdh_grade"),
    ("OpenSSL's own curves are used", "tls_eecdh_auto_curves tls_eecdh_strong_curve tls_eecdh_ultra_curve"),
    (
        "OpenSSL's own limit for the length of a chain holds",
        """
        lmtp_tls_scert_verifydepth smtp_tls_scert_verifydepth smtpd_tls_ccert_verifydepth
    """,
    ),
    (
        "what is sent in clear before a handshake never counts as sent under TLS",
        """
        lmtp_tls_block_early_mail_reply smtp_tls_block_early_mail_reply
    """,
    ),
    (
        "OpenSSL's configuration is the system's; openssl.cnf of its own per program is not read",
        """
        tls_config_file tls_config_name
    """,
    ),
    ("the peer's closing alert is never waited for", "tls_fast_shutdown_enable"),
    (
        "each instance is started by itself, with -c: there is no postmulti",
        """
        multi_instance_directories multi_instance_enable multi_instance_group multi_instance_wrapper
        postmulti_control_commands postmulti_start_commands postmulti_stop_commands
    """,
    ),
    ("sessions of single clients are not logged command by command", "debug_peer_level debug_peer_list"),
    ("content that comes in is not parsed as MIME", "disable_mime_input_processing"),
    ("the transport is called error, as in Postfix, which does not look at this either", "error_service_name"),
    ("LMTP looks for no mail exchangers", "lmtp_defer_if_no_mx_address_found"),
    ("the resolver is our own and sees how long it may remember what does not exist", "dns_ncache_ttl_fix_enable"),
    ("each answer says whether it was validated", "dnssec_probe"),
    ("domain names are converted as IDNA2008 has it, on both sides", "enable_idna2003_compatibility"),
    ("fingerprints of Postfix 2.9.0 to 2.9.5 were wrong: make them anew", "tls_legacy_public_key_fingerprints"),
    ("OpenSSL's own groups are used", "tls_ffdhe_auto_groups"),
    ("lines about deliveries are those of Postfix 3.7", "smtp_log_tls_feature_status"),
    ("the file is pid/master.pid", "process_id_directory"),
    ("advice on a configuration is given by the check command, and not in the log", "helpful_warnings"),
    ("only lines of postscreen differ by it, and clients come to smtpd unscreened", "respectful_logging"),
    ("OpenSSL no longer has it", "smtpd_tls_dh512_param_file"),
)

NO_EFFECT: Mapping[str, str] = MappingProxyType({name: why for why, names in _REASONS for name in names.split()})

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "smtp_tls_per_site": "use smtp_tls_policy_maps",
        "lmtp_tls_per_site": "use lmtp_tls_policy_maps",
        # Other authorities would be believed than those that were named.
        "smtp_tls_trust_anchor_file": "not available in this version: use smtp_tls_CAfile",
        "lmtp_tls_trust_anchor_file": "not available in this version: use lmtp_tls_CAfile",
        "maps_rbl_domains": "use reject_rbl_client in smtpd_recipient_restrictions",
        # Without it a stranger would pass for a friend.
        "smtpd_tls_req_ccert": "not available in this version: client certificates are not asked for",
    }
)
"""Set to anything, they stop the start; the text is the cure."""


def standing(parameter: Parameter) -> tuple[Standing, str]:
    """The standing, and the reason or the cure."""
    name = parameter.name
    if name in WORKS or name.endswith(WORKING_SUFFIXES):
        return Standing.WORKS, ""
    if name in NO_EFFECT:
        return Standing.NO_EFFECT, NO_EFFECT[name]
    if name in REFUSED:
        return Standing.REFUSED, REFUSED[name]
    for suffix, why in NO_EFFECT_SUFFIXES.items():
        if name.endswith(suffix):
            return Standing.NO_EFFECT, why
    return Standing.NOT_YET, ""
