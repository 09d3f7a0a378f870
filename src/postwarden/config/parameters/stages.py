"""Which stage of a message's way reads each parameter: the folder where its effect is, or would be."""

from collections.abc import Mapping
from types import MappingProxyType

_EXCEPTIONS = (
    (
        "receive",
        """
        allow_min_user authorized_submit_users bounce_notice_recipient broken_sasl_auth_clients
        cleanup_service_name content_filter default_process_limit disable_vrfy_command double_bounce_sender
        empty_address_local_login_sender_maps_lookup_key error_notice_recipient ipc_timeout line_length_limit
        local_login_sender_maps mail_name message_size_limit notify_classes postwarden_refusal_reference
        postwarden_session_limit postwarden_submit_limit smtputf8_autodetect_classes smtputf8_enable
        smtpd_peername_lookup strict_rfc821_envelopes strict_smtputf8
        """,
    ),
    (
        "policy",
        """
        allow_untrusted_routing mynetworks smtpd_client_restrictions smtpd_data_restrictions smtpd_delay_reject
        smtpd_end_of_data_restrictions smtpd_etrn_restrictions smtpd_expansion_filter smtpd_helo_restrictions
        smtpd_log_access_permit_actions smtpd_null_access_lookup_key smtpd_policy_service_default_action
        smtpd_policy_service_max_idle smtpd_policy_service_max_ttl smtpd_policy_service_policy_context
        smtpd_policy_service_request_limit smtpd_policy_service_retry_delay smtpd_policy_service_timeout
        smtpd_policy_service_try_limit smtpd_recipient_restrictions smtpd_reject_unlisted_recipient
        smtpd_reject_unlisted_sender smtpd_relay_before_recipient_restrictions smtpd_relay_restrictions
        smtpd_restriction_classes smtpd_sender_login_maps smtpd_sender_restrictions
        """,
    ),
    (
        "content",
        """
        always_bcc canonical_classes canonical_maps enable_long_queue_ids enable_original_recipient
        local_header_rewrite_clients masquerade_classes masquerade_domains masquerade_exceptions
        postwarden_recipient_expansion_limit propagate_unmatched_extensions recipient_bcc_maps
        recipient_canonical_classes recipient_canonical_maps remote_header_rewrite_domain sender_bcc_maps
        sender_canonical_classes sender_canonical_maps virtual_alias_address_length_limit
        virtual_alias_expansion_limit virtual_alias_recursion_limit
        """,
    ),
    (
        "addressing",
        """
        address_verify_default_transport address_verify_local_transport address_verify_relay_transport
        address_verify_relayhost address_verify_sender_dependent_default_transport_maps
        address_verify_sender_dependent_relayhost_maps address_verify_transport_maps address_verify_virtual_transport
        """,
    ),
    (
        "verify",
        """
        address_verify_cache_cleanup_interval address_verify_map address_verify_negative_cache
        address_verify_negative_expire_time address_verify_negative_refresh_time address_verify_positive_expire_time
        address_verify_positive_refresh_time
        """,
    ),
    ("schedule", "address_verify_pending_request_limit"),
    ("spool", "hash_queue_depth hash_queue_names queue_directory queue_minfree"),
    (
        "routing",
        """
        allow_srv_lookup_fallback disable_dns_lookups ignore_mx_lookup_error ignore_srv_lookup_error known_tcp_ports
        lmtp_address_preference lmtp_balance_inet_protocols lmtp_cname_overrides_servername lmtp_dns_reply_filter
        lmtp_dns_resolver_options lmtp_dns_support_level lmtp_host_lookup lmtp_randomize_addresses lmtp_tcp_port
        smtp_address_preference smtp_balance_inet_protocols smtp_cname_overrides_servername
        smtp_defer_if_no_mx_address_found smtp_dns_reply_filter smtp_dns_resolver_options smtp_dns_support_level
        smtp_host_lookup smtp_randomize_addresses smtp_tcp_port use_srv_lookup
        """,
    ),
    (
        "deliver",
        """
        best_mx_transport connection_cache_ttl_limit disable_mime_output_conversion mime_boundary_length_limit
        mime_nesting_limit owner_request_special strict_mailbox_ownership
        """,
    ),
    (
        "bounce",
        """
        2bounce_notice_recipient bounce_size_limit bounce_template_file confirm_delay_cleared delay_notice_recipient
        disable_verp_bounces enable_threaded_bounces postwarden_bounce_reasons requiretls_redact_dsn
        """,
    ),
    ("tables", "alias_database default_cache_db_type default_database_type lmdb_map_size"),
    (
        "config",
        """
        alternate_config_directories compatibility_level config_directory inet_interfaces inet_protocols mydomain
        myhostname mynetworks_style process_id process_name service_name
        """,
    ),
    (
        "cli",
        """
        default_verp_delimiters full_name_encoding_charset mail_release_date mail_version maillog_file_compressor
        maillog_file_rotate_suffix multi_instance_directories multi_instance_enable multi_instance_group
        multi_instance_name multi_instance_wrapper postmulti_control_commands postmulti_start_commands
        postmulti_stop_commands sendmail_fix_line_endings verp_delimiter_filter
        """,
    ),
    ("federation", "postwarden_alias_sources"),
)

STAGES: Mapping[str, str] = MappingProxyType({name: stage for stage, names in _EXCEPTIONS for name in names.split()})
"""Those whose area of the table says nothing, or something else."""

AREAS: Mapping[str, str] = MappingProxyType(
    {
        "system": "roles",
        "addressing": "addressing",
        "smtp_server": "receive",
        "policy": "policy",
        "content": "content",
        "queue": "schedule",
        "smtp_client": "deliver",
        "lmtp_client": "deliver",
        "tls": "receive, deliver",
        "tlsproxy": "receive",
        "local": "deliver",
        "postscreen": "receive",
        "own": "roles",
    }
)
"""By the module of this package that holds a parameter's row."""
