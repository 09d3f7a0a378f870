"""What rewriting and resolving read of main.cf."""

from msgspec import Struct


class RewriteParams(Struct, frozen=True):
    myorigin: str
    mydomain: str
    append_at_myorigin: bool
    append_dot_mydomain: bool
    swap_bangpath: bool
    allow_percent_hack: bool


class ResolveParams(Struct, frozen=True):
    myhostname: str
    relay_domains: tuple[str, ...]
    virtual_alias_domains: tuple[str, ...]
    virtual_mailbox_domains: tuple[str, ...]
    transport_maps: tuple[str, ...]
    parent_domain_matches_subdomains: tuple[str, ...]
    sender_dependent_default_transport_maps: tuple[str, ...]
    sender_dependent_relayhost_maps: tuple[str, ...]
    empty_address_default_transport_maps_lookup_key: str
    empty_address_relayhost_maps_lookup_key: str
    relocated_maps: tuple[str, ...]
    relocated_prefix_enable: bool
    local_transport: str
    virtual_transport: str
    relay_transport: str
    default_transport: str
    relayhost: str
    recipient_delimiter: str
    empty_address_recipient: str
    show_user_unknown_table_name: bool
    resolve_numeric_domain: bool
    resolve_null_domain: bool
    resolve_dequoted_address: bool
    allow_min_user: bool


class ProbeRouteParams(Struct, frozen=True):
    """What stands in for the parameters without `address_verify_` where the way of a probe is chosen."""

    address_verify_local_transport: str
    address_verify_virtual_transport: str
    address_verify_relay_transport: str
    address_verify_default_transport: str
    address_verify_relayhost: str
    address_verify_transport_maps: tuple[str, ...]
    address_verify_sender_dependent_default_transport_maps: tuple[str, ...]
    address_verify_sender_dependent_relayhost_maps: tuple[str, ...]


class LocalParams(Struct, frozen=True):
    """Which domains are local."""

    mydestination: tuple[str, ...]
    myorigin: str
    parent_domain_matches_subdomains: tuple[str, ...]
    proxy_interfaces: tuple[str, ...]
