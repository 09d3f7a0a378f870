"""What restrictions stand on, and what to change so that they decide otherwise."""

from collections.abc import Mapping
from types import MappingProxyType

from postwarden.cli.explaining.local_replies import meaning_of
from postwarden.cli.explaining.replies import meaning
from postwarden.mail.decision import Rule
from postwarden.mail.status import Status
from postwarden.mail.verified import BOUNCE, DEFER, FAIL, TODO

_DESTINATIONS = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")

_READS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "permit_mynetworks": ("mynetworks",),
    "permit_sasl_authenticated": ("smtpd_sasl_auth_enable",),
    "permit_auth_destination": _DESTINATIONS,
    "reject_unauth_destination": _DESTINATIONS,
    "defer_unauth_destination": _DESTINATIONS,
    "reject_unlisted_recipient": ("local_recipient_maps", "virtual_mailbox_maps", "relay_recipient_maps",
                                  "virtual_alias_maps"),
    "reject_sender_login_mismatch": ("smtpd_sender_login_maps",),
    "reject_rbl_client": (),
})  # fmt: skip
_UNVERIFIED: Mapping[str, tuple[str, ...]] = MappingProxyType({
    BOUNCE: ("{}_reject_code", "{}_reject_reason"),
    DEFER: ("{}_defer_code", "{}_tempfail_action", "{}_reject_reason"),
    TODO: ("{}_defer_code", "{}_tempfail_action", "address_verify_poll_count", "address_verify_poll_delay"),
    FAIL: ("{}_tempfail_action",),
})  # fmt: skip
"""Of reject_unverified_sender and reject_unverified_recipient, by what is known of the address."""


def reads(name: str, verified: str = "") -> tuple[str, ...]:
    """Parameters that a restriction looks at. `verified`: what is known of the address, as facts have it."""
    found = _UNVERIFIED.get(verified.partition(" ")[0], ())
    return _READS.get(name) or tuple(one.format(name.removeprefix("reject_")) for one in found)


_NAMES = "the owner of the client's address has to give it a name in DNS that leads back to the address"
_CURES: Mapping[str, str] = MappingProxyType({
    "reject_unauth_destination": "{relay}",
    "defer_unauth_destination": "{relay}",
    "reject_unlisted_recipient": "add the recipient to the table of its class, or an alias for it",
    "reject_unlisted_sender": "the sender's domain is ours, and nobody there has this address: add it, or correct it",
    "local_recipient_maps": "add the user or an alias; local_recipient_maps names who exists",
    "virtual_mailbox_maps": "add the address to a table of virtual_mailbox_maps",
    "virtual_alias_domains": "add the address to a table of virtual_alias_maps",
    "relay_recipient_maps": "add the address to a table of relay_recipient_maps",
    "reject_non_fqdn_sender": "the client has to give a sender with a full domain",
    "reject_non_fqdn_recipient": "the client has to give a recipient with a full domain",
    "reject_non_fqdn_helo_hostname": "the client has to say its full name in HELO",
    "reject_invalid_helo_hostname": "the client has to say a host name in HELO",
    "reject_unknown_helo_hostname": "the name that the client says in HELO has to be in DNS",
    "reject_unknown_client_hostname": _NAMES,
    "reject_unknown_reverse_client_hostname": "the owner of the client's address has to give it a name in DNS (PTR)",
    "reject_unknown_sender_domain": "the sender's domain has to have an MX or address record in DNS",
    "reject_unknown_recipient_domain": "the recipient's domain has to have an MX or address record in DNS",
    "reject_sender_login_mismatch": "the client has to log in as an owner of the sender address"
                                    " (smtpd_sender_login_maps)",
    "reject_unverified_recipient": "the server that the recipient's mail goes to has to take the address; postwarden"
                                   " explain ADDRESS shows which that is",
    "reject_unverified_sender": "the server that mail to the sender goes to has to take that address, or an entry"
                                " before this restriction has to exempt the sender",
    "reject_plaintext_session": "the client has to use STARTTLS",
    "reject_unauth_pipelining": "the client must wait for the replies",
    "reject_rbl_client": "the client's operator has to get it off the list, or exempt it before this restriction",
})  # fmt: skip


_MORE = "the client tries again; for more, raise it, or name the client in smtpd_client_event_limit_exceptions"
_CERTIFICATE = (
    "no client can use TLS here: the certificate, or its key, is not set or can't be used; postwarden check and"
    " the mail log say what is wrong with it"
)
_WITHOUT_POLICY: Mapping[str, str] = MappingProxyType({
    "a trouble here": "nothing in the configuration: the mail log of that second says what failed; the client tries"
                      " again",
    "the rules of SMTP": "the client's program has to keep to them",
    "smtpd_client_message_rate_limit": _MORE,
    "smtpd_client_recipient_rate_limit": _MORE,
    "smtpd_client_connection_count_limit": _MORE,
    "smtpd_client_connection_rate_limit": _MORE,
    "smtpd_client_new_tls_session_rate_limit": _MORE,
    "smtpd_recipient_limit": "the client sends to the others in a further message by itself; for more at a time raise"
                             " it",
    "smtpd_hard_error_limit": "the client's program has to mend what was refused before",
    "hopcount_limit": "look for a loop in the Received headers; only then raise it",
    "message_size_limit": "send less, or a link; or raise it",
    "queue_minfree": "make room on the disk of queue_directory",
    "smtpd_forbid_bare_newline": "the client's program has to end lines with CR LF; or name the client in"
                                 " smtpd_forbid_bare_newline_exclusions",
    "smtpd_forbid_unauth_pipelining": "the client's program has to wait for the replies",
    "line_length_limit": "the client's program has to send shorter lines",
    "smtpd_timeout": "see to the network between here and the client",
    "default_process_limit": "see who takes all places (mail log), or raise maxproc of the service in master.cf",
    "smtpd_tls_security_level": "the client has to use STARTTLS",
    "smtpd_tls_cert_file": _CERTIFICATE,
    "smtpd_tls_chain_files": _CERTIFICATE,
    "smtpd_sasl_auth_enable": "no client can log in here: set it to yes, or let the client send without",
    "smtpd_helo_required": "the client's program has to say HELO or EHLO",
    "fast_flush_domains": "name the site there, if mail for it waits here until it asks",
    "smtputf8_enable": "set it to yes, or send from and to addresses in ASCII",
    "smtpd_discard_ehlo_keywords": "the client used what was not offered; take the keyword out to offer it",
    "disable_vrfy_command": "nothing: VRFY tells strangers who exists",
    "virtual_alias_expansion_limit": "the alias names too many; raise it if that is meant",
    "smtpd_authorized_xclient_hosts": "name the client there if it may speak for others",
})  # fmt: skip


def cure_without_policy(rule: Rule) -> str:
    """The same where the server refused by itself, and `rule` is the deciding parameter."""
    text = _WITHOUT_POLICY.get(rule.name, f"see {rule.name}")
    return f"{text}; {rule.name} is set at {rule.origin}" if rule.origin.file else text


def cure_unverified(verified: str) -> str:
    """What helps where an address could not be verified; empty: its server has to take it, and nothing more is known.
    `verified`: what was known of it, as facts have it."""
    status, _, text = verified.partition(" ")
    if status == TODO:
        return (
            "nothing: the client comes again, and by then the answer is there; to wait longer for it, raise"
            " address_verify_poll_count or address_verify_poll_delay"
        )
    if status == FAIL:
        return "nothing in the configuration: the mail log of that second says why nobody could be asked"
    if " said: " in text:
        known = meaning("", text) if status == DEFER else None
    else:
        known = meaning_of(Status("4.0.0", text)) if text else None
    return f"{known.means}: {known.cure}" if known is not None else ""


def cure(rule: Rule, client: str, networks: str, domain: str, verified: str = "") -> str:
    """What to change where `rule` has refused. `networks`: where mynetworks is written. `verified`: what was known of
    an address that had to be verified, as facts have it."""
    name = rule.name
    if name.startswith(("reject_rbl", "reject_rhsbl")):
        name = "reject_rbl_client"
    text = (cure_unverified(verified) if verified else "") or _CURES.get(name, "change the list that names it")
    if name.startswith("check_"):
        text = "change the entry in the table that decided"
    elif text == "{relay}":
        text = (
            f"if {client} may send anywhere, add it to mynetworks ({networks}) or let its user log in; if mail for"
            f" {domain} is to come in here, add {domain} to relay_domains or mydestination"
        )
    return f"{text}; the restriction stands at {rule.origin}" if rule.origin.file else text
