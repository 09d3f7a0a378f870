"""What local delivery reads of the configuration."""

from msgspec import Struct


class LocalParams(Struct, frozen=True):
    alias_maps: tuple[str, ...]
    allow_mail_to_commands: tuple[str, ...]
    allow_mail_to_files: tuple[str, ...]
    command_execution_directory: str
    command_expansion_filter: str
    command_time_limit: int
    default_privs: str
    deliver_lock_attempts: int
    deliver_lock_delay: int
    duplicate_filter_limit: int
    enable_original_recipient: bool
    execution_directory_expansion_filter: str
    expand_owner_alias: bool
    export_environment: tuple[str, ...]
    fallback_transport: str
    fallback_transport_maps: tuple[str, ...]
    forward_expansion_filter: str
    forward_path: str
    frozen_delivered_to: bool
    home_mailbox: str
    import_environment: tuple[str, ...]
    local_delivery_status_filter: tuple[str, ...]
    local_command_shell: str
    luser_relay: str
    mail_owner: str
    mail_spool_directory: str
    mailbox_command: str
    mailbox_command_maps: tuple[str, ...]
    mailbox_delivery_lock: tuple[str, ...]
    mailbox_size_limit: int
    mailbox_transport: str
    mailbox_transport_maps: tuple[str, ...]
    owner_request_special: bool
    prepend_delivered_header: tuple[str, ...]
    propagate_unmatched_extensions: tuple[str, ...]
    recipient_delimiter: str
    require_home_directory: bool
    reset_owner_alias: bool
    soft_bounce: bool
    stale_lock_time: int
    strict_mailbox_ownership: bool
    sun_mailtool_compatibility: bool


class VirtualParams(Struct, frozen=True):
    deliver_lock_attempts: int
    deliver_lock_delay: int
    enable_original_recipient: bool
    recipient_delimiter: str
    soft_bounce: bool
    stale_lock_time: int
    strict_mailbox_ownership: bool
    virtual_delivery_status_filter: tuple[str, ...]
    virtual_gid_maps: tuple[str, ...]
    virtual_mailbox_base: str
    virtual_mailbox_limit: int
    virtual_mailbox_lock: tuple[str, ...]
    virtual_mailbox_maps: tuple[str, ...]
    virtual_minimum_uid: int
    virtual_uid_maps: tuple[str, ...]
