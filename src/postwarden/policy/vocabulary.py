"""The vocabulary of restriction lists: a name, what its argument is, and how it is compiled.

A restriction is compiled once, when the configuration is loaded, into a function of a Question; its Rule says where it
was written. A name that is not in the table is a configuration error, never a permit.
"""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from postwarden.policy import blocklists, restrictions
from postwarden.policy.blocklists import allowlist, blocklist
from postwarden.policy.delegation import policy_service
from postwarden.policy.domains import permit_mx_backup, unknown_domain, unknown_helo
from postwarden.policy.logins import login_mismatch
from postwarden.policy.means import Compiler
from postwarden.policy.question import Subject
from postwarden.policy.restrictions import access, non_fqdn_address, unauth_destination
from postwarden.policy.servers import server_access
from postwarden.policy.unverified import unverified
from postwarden.wire.dns import Kind

TABLE, DOMAIN, SERVER, NUMBER = "a table", "a domain name", "a policy server", "a number"


class Entry(Struct, frozen=True):
    compiler: Compiler
    needs: str = ""
    """What its argument is; empty: it has none."""


_SUBJECTS = (
    ("client", Subject.CLIENT, blocklists.client_name),
    ("reverse_client_hostname", Subject.REVERSE_CLIENT, blocklists.reverse_client_name),
    ("helo", Subject.HELO, blocklists.helo_name),
    ("sender", Subject.SENDER, blocklists.sender),
    ("recipient", Subject.RECIPIENT, blocklists.recipient),
)
_SERVERS = {
    f"check_{word}_{kind.name.lower()}_access": Entry(server_access(subject, value, kind), TABLE)
    for word, subject, value in _SUBJECTS
    for kind in (Kind.A, Kind.MX, Kind.NS)
}
_LISTS = {
    "reject_rbl_client": Entry(blocklist(Subject.CLIENT, blocklists.client_address), DOMAIN),
    "reject_rhsbl_client": Entry(blocklist(Subject.CLIENT, blocklists.client_name), DOMAIN),
    "reject_rhsbl_reverse_client": Entry(blocklist(Subject.REVERSE_CLIENT, blocklists.reverse_client_name), DOMAIN),
    "reject_rhsbl_helo": Entry(blocklist(Subject.HELO, blocklists.helo_name), DOMAIN),
    "reject_rhsbl_sender": Entry(blocklist(Subject.SENDER, blocklists.sender), DOMAIN),
    "reject_rhsbl_recipient": Entry(blocklist(Subject.RECIPIENT, blocklists.recipient), DOMAIN),
    "permit_dnswl_client": Entry(allowlist(blocklists.client_address), DOMAIN),
    "permit_rhswl_client": Entry(allowlist(blocklists.client_name), DOMAIN),
}
_OUTSIDE = {
    "reject_unknown_sender_domain": Entry(unknown_domain(Subject.SENDER)),
    "reject_unknown_recipient_domain": Entry(unknown_domain(Subject.RECIPIENT)),
    "reject_unknown_helo_hostname": Entry(unknown_helo(restrictions.bad_literal)),
    "reject_unknown_hostname": Entry(unknown_helo(restrictions.bad_literal)),
    "permit_mx_backup": Entry(permit_mx_backup),
    "reject_unverified_sender": Entry(unverified(Subject.SENDER)),
    "reject_unverified_recipient": Entry(unverified(Subject.RECIPIENT)),
    "check_policy_service": Entry(policy_service, SERVER),
    "sleep": Entry(restrictions.sleep, NUMBER),
}
_LOGINS = {
    "reject_sender_login_mismatch": Entry(login_mismatch()),
    "reject_authenticated_sender_login_mismatch": Entry(login_mismatch(strangers=False)),
    "reject_unauthenticated_sender_login_mismatch": Entry(login_mismatch(logged_in=False)),
    "reject_known_sender_login_mismatch": Entry(login_mismatch(known=True)),
    "check_sasl_access": Entry(restrictions.login_access, TABLE),
    "permit_tls_clientcerts": Entry(restrictions.no_certificate),
    "permit_tls_all_clientcerts": Entry(restrictions.no_certificate),
    "check_ccert_access": Entry(restrictions.certificate_access, TABLE),
}
_PLAIN = {
    "permit": Entry(restrictions.permit_all),
    "reject": Entry(restrictions.reject_all),
    "defer": Entry(restrictions.defer_all),
    "permit_mynetworks": Entry(restrictions.permit_mynetworks),
    "permit_sasl_authenticated": Entry(restrictions.permit_sasl_authenticated),
    "permit_auth_destination": Entry(restrictions.permit_auth_destination),
    "reject_unauth_destination": Entry(unauth_destination(lambda p: p.relay_domains_reject_code, "5.7.1")),
    "defer_unauth_destination": Entry(unauth_destination(lambda p: p.relay_domains_reject_code - 100, "4.7.1")),
    "reject_unlisted_recipient": Entry(restrictions.unlisted_recipient),
    "reject_unlisted_sender": Entry(restrictions.unlisted_sender),
    "check_client_access": Entry(access(Subject.CLIENT), TABLE),
    "check_helo_access": Entry(access(Subject.HELO), TABLE),
    "check_sender_access": Entry(access(Subject.SENDER), TABLE),
    "check_recipient_access": Entry(access(Subject.RECIPIENT), TABLE),
    "reject_non_fqdn_sender": Entry(non_fqdn_address(Subject.SENDER)),
    "reject_non_fqdn_recipient": Entry(non_fqdn_address(Subject.RECIPIENT)),
    "reject_non_fqdn_helo_hostname": Entry(restrictions.non_fqdn_helo),
    "reject_non_fqdn_hostname": Entry(restrictions.non_fqdn_helo),
    "reject_invalid_helo_hostname": Entry(restrictions.invalid_helo),
    "reject_invalid_hostname": Entry(restrictions.invalid_helo),
    "reject_unknown_client_hostname": Entry(restrictions.unknown_client),
    "reject_unknown_client": Entry(restrictions.unknown_client),
    "reject_unknown_reverse_client_hostname": Entry(restrictions.unknown_reverse_client),
    "reject_unauth_pipelining": Entry(restrictions.unauth_pipelining),
    "reject_multi_recipient_bounce": Entry(restrictions.multi_recipient_bounce),
    "reject_plaintext_session": Entry(restrictions.plaintext_session),
    "permit_inet_interfaces": Entry(restrictions.permit_inet_interfaces),
    "check_etrn_access": Entry(access(Subject.ETRN), TABLE),
    "defer_if_permit": Entry(restrictions.defer_if_permit),
    "defer_if_reject": Entry(restrictions.defer_if_reject),
    "check_reverse_client_hostname_access": Entry(restrictions.reverse_client_access, TABLE),
    "check_recipient_maps": Entry(restrictions.unlisted_recipient),
}
VOCABULARY: Mapping[str, Entry] = MappingProxyType({**_PLAIN, **_SERVERS, **_LISTS, **_OUTSIDE, **_LOGINS})

ACCESS: Mapping[Subject, str] = MappingProxyType({
    Subject.CLIENT: "check_client_access",
    Subject.HELO: "check_helo_access",
    Subject.SENDER: "check_sender_access",
    Subject.RECIPIENT: "check_recipient_access",
    Subject.ETRN: "check_etrn_access",
})  # fmt: skip
"""What a table without a restriction before it means, by the list that it stands in."""

UNAVAILABLE: frozenset[str] = frozenset(
    (
        "check_relay_domains", "permit_naked_ip_address", "reject_maps_rbl",
    )
)  # fmt: skip
"""Postfix has them, we do not: a list that reaches one puts off, and `check` says so."""

NO_CERTIFICATES: frozenset[str] = frozenset(
    ("permit_tls_clientcerts", "permit_tls_all_clientcerts", "check_ccert_access")
)
"""They never fit, since no client is asked for a certificate."""
