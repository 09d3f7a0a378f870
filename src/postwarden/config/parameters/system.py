"""Paths, processes, logging, service names."""

from postwarden.config.parameters.kinds import Parameter, items, number, switch, text, time

PARAMETERS: tuple[Parameter, ...] = (
    items("alternate_config_directories"),
    time("anvil_rate_time_unit", "60s"),
    time("anvil_status_update_time", "600s"),
    time("application_event_drain_time", "100s"),
    items("authorized_flush_users", "static:anyone"),
    items("authorized_mailq_users", "static:anyone"),
    items("authorized_submit_users", "static:anyone"),
    number("berkeley_db_create_buffer_size", "16777216"),
    number("berkeley_db_read_buffer_size", "131072"),
    text("cleanup_service_name", "cleanup"),
    text("command_directory", "/usr/sbin"),
    text("compatibility_level", "0"),
    text("config_directory", "/etc/postfix"),
    text("daemon_directory", "/usr/lib/postfix/sbin"),
    switch("daemon_table_open_error_is_fatal"),
    time("daemon_timeout", "18000s"),
    text("data_directory", "/var/lib/postfix"),
    number("debug_peer_level", "2"),
    items("debug_peer_list"),
    text("debugger_command"),
    text("default_cache_db_type", "${{$default_database_type} == {lmdb} ? {lmdb} : {btree}}"),
    text("default_database_type", "hash"),
    number("default_process_limit", "100", low=1),
    text("error_service_name", "error"),
    number("fault_injection_code", "0"),
    number("fork_attempts", "5", low=1),
    time("fork_delay", "1s"),
    text("html_directory", "/usr/share/doc/postfix/html"),
    items(
        "import_environment",
        "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME",
    ),
    time("ipc_idle", "5s"),
    time("ipc_timeout", "3600s"),
    time("ipc_ttl", "1000s"),
    items("known_tcp_ports", "lmtp=24, smtp=25, smtps=submissions=465, submission=587"),
    number("lmdb_map_size", "16777216"),
    text("mail_name", "Postfix"),
    text("mail_owner", "postfix"),
    text("mail_release_date", "20240304"),
    text("mail_version", "3.7.11"),
    text("maillog_file"),
    text("maillog_file_compressor", "gzip"),
    items("maillog_file_prefixes", "/var, /dev/stdout"),
    text("maillog_file_rotate_suffix", "%Y%m%d-%H%M%S"),
    text("mailq_path", "/usr/bin/mailq"),
    text("manpage_directory", "/usr/share/man"),
    items("master_service_disable"),
    time("max_idle", "100s"),
    number("max_use", "100"),
    text("meta_directory", "/etc/postfix"),
    items("multi_instance_directories"),
    switch("multi_instance_enable"),
    text("multi_instance_group"),
    text("multi_instance_name"),
    text("multi_instance_wrapper"),
    text("non_bdb_custom_mapping"),
    items("non_bdb_migration_allow_root_prefixes"),
    items("non_bdb_migration_allow_user_prefixes"),
    text("non_bdb_migration_level", "disable"),
    text("openssl_path", "openssl"),
    text("pickup_service_name", "pickup"),
    text("postlog_service_name", "postlog"),
    time("postlogd_watchdog_timeout", "10s"),
    items("postmulti_control_commands", "reload flush"),
    items("postmulti_start_commands", "start"),
    items("postmulti_stop_commands", "stop abort drain quick-stop"),
    text("process_id"),
    text("process_id_directory", "pid"),
    text("process_name"),
    items(
        "proxy_read_maps",
        "$local_recipient_maps $mydestination $virtual_alias_maps $virtual_alias_domains $virtual_mailbox_maps "
        "$virtual_mailbox_domains $relay_recipient_maps $relay_domains $canonical_maps $sender_canonical_maps "
        "$recipient_canonical_maps $relocated_maps $transport_maps $mynetworks $smtpd_sender_login_maps "
        "$sender_bcc_maps $recipient_bcc_maps $smtp_generic_maps $lmtp_generic_maps $alias_maps "
        "$smtpd_client_restrictions $smtpd_helo_restrictions $smtpd_sender_restrictions $smtpd_relay_restrictions "
        "$smtpd_recipient_restrictions $address_verify_sender_dependent_default_transport_maps "
        "$address_verify_sender_dependent_relayhost_maps $address_verify_transport_maps $fallback_transport_maps "
        "$lmtp_discard_lhlo_keyword_address_maps $lmtp_pix_workaround_maps $lmtp_sasl_password_maps "
        "$lmtp_tls_policy_maps $mailbox_command_maps $mailbox_transport_maps "
        "$postscreen_discard_ehlo_keyword_address_maps $rbl_reply_maps $sender_dependent_default_transport_maps "
        "$sender_dependent_relayhost_maps $smtp_discard_ehlo_keyword_address_maps $smtp_pix_workaround_maps "
        "$smtp_sasl_password_maps $smtp_tls_policy_maps $smtpd_discard_ehlo_keyword_address_maps "
        "$smtpd_milter_maps $virtual_gid_maps $virtual_uid_maps $local_login_sender_maps "
        "$postscreen_reject_footer_maps $smtpd_reject_footer_maps $tls_server_sni_maps "
        "$tlsproxy_client_policy_maps $default_delivery_status_filter $lmtp_delivery_status_filter "
        "$lmtp_dns_reply_filter $lmtp_reply_filter $local_delivery_status_filter $pipe_delivery_status_filter "
        "$postscreen_command_filter $smtp_delivery_status_filter $smtp_dns_reply_filter $smtp_reply_filter "
        "$smtpd_command_filter $smtpd_dns_reply_filter $virtual_delivery_status_filter $body_checks $header_checks "
        "$lmtp_body_checks $lmtp_header_checks $lmtp_mime_header_checks $lmtp_nested_header_checks "
        "$milter_header_checks $mime_header_checks $nested_header_checks $smtp_body_checks $smtp_header_checks "
        "$smtp_mime_header_checks $smtp_nested_header_checks",
    ),
    items(
        "proxy_write_maps",
        "$smtp_sasl_auth_cache_name $lmtp_sasl_auth_cache_name $address_verify_map $postscreen_cache_map",
    ),
    text("proxymap_service_name", "proxymap"),
    text("proxywrite_service_name", "proxywrite"),
    text("readme_directory", "/usr/share/doc/postfix"),
    switch("respectful_logging", "${{$compatibility_level} <level {3.6} ? {no} : {yes}}"),
    text("sample_directory", "/etc/postfix"),
    text("sendmail_fix_line_endings", "always"),
    text("sendmail_path", "/usr/sbin/sendmail"),
    text("service_name"),
    time("service_throttle_time", "60s"),
    text("setgid_group", "postdrop"),
    text("shlib_directory", "/usr/lib/postfix"),
    text("showq_service_name", "showq"),
    text("syslog_facility", "mail"),
    text("syslog_name", "${multi_instance_name?{$multi_instance_name}:{postfix}}"),
    number("tcp_windowsize", "0"),
    time("trigger_timeout", "10s"),
)
