"""What content preparation reads of main.cf."""

from msgspec import Struct


class GenericParams(Struct, frozen=True):
    """Of addresses on their way out."""

    header_address_token_limit: int
    propagate_unmatched_extensions: tuple[str, ...]
    recipient_delimiter: str


class ContentParams(Struct, frozen=True):
    myhostname: str
    enable_long_queue_ids: bool
    always_add_missing_headers: bool
    header_from_format: str
    message_drop_headers: tuple[str, ...]
    undisclosed_recipients_header: str
    header_size_limit: int
    header_address_token_limit: int
    remote_header_rewrite_domain: str
    hopcount_limit: int
    always_bcc: str
    sender_bcc_maps: tuple[str, ...]
    recipient_bcc_maps: tuple[str, ...]
    canonical_maps: tuple[str, ...]
    canonical_classes: tuple[str, ...]
    sender_canonical_maps: tuple[str, ...]
    sender_canonical_classes: tuple[str, ...]
    recipient_canonical_maps: tuple[str, ...]
    recipient_canonical_classes: tuple[str, ...]
    virtual_alias_maps: tuple[str, ...]
    virtual_alias_expansion_limit: int
    virtual_alias_recursion_limit: int
    virtual_alias_address_length_limit: int
    postwarden_recipient_expansion_limit: int
    propagate_unmatched_extensions: tuple[str, ...]
    recipient_delimiter: str
    empty_address_recipient: str
    enable_original_recipient: bool
    masquerade_domains: tuple[str, ...]
    masquerade_classes: tuple[str, ...]
    masquerade_exceptions: tuple[str, ...]
    parent_domain_matches_subdomains: tuple[str, ...]


class LocalClientParams(Struct, frozen=True):
    """Of an SMTP service, while ContentParams are a profile's."""

    local_header_rewrite_clients: tuple[str, ...]
    mynetworks: tuple[str, ...]
    parent_domain_matches_subdomains: tuple[str, ...]


class OverrideParams(Struct, frozen=True):
    """Of an SMTP service or of pickup."""

    cleanup_service_name: str
    receive_override_options: tuple[str, ...]
