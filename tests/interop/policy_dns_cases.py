"""What is asked of the real smtpd(8) and of ours about DNS and access tables: the zone, the settings, who says what."""

from collections.abc import Mapping

from msgspec import Struct
from tests.nameserver import own_address

SERVER = own_address()
ZONE = """
mail.far.example A 198.51.100.7
good.example MX 10 mx.good.example
mx.good.example A 192.0.2.55
mx.good.example AAAA 2001:db8::55
good.example NS ns.good.example
ns.good.example A 198.51.100.53
sub.good.example A 192.0.2.56
aonly.example A 192.0.2.57
aaaaonly.example AAAA 2001:db8::57
nullmx.example MX 0 .
emptymx.example MX 10 nowhere.example
mxnx.example MX 10 gone.nx.example
loc.example MX 10 localhost
nodata.example TXT hello
serv.example SERVFAIL
mxserv.example MX:SERVFAIL
mxserv.example A 192.0.2.3
mxtoserv.example MX 10 serv.example
mxtoserv.example NS serv.example
badmx.example MX 10 bad!name.example
badmx.example A 192.0.2.4
numeric.example MX 10 192.0.2.9
cname.example CNAME good.example
7.100.51.198.bl.example A 127.0.0.2
7.100.51.198.bl.example TXT listed see http://bl.example
7.100.51.198.two.example A 127.0.0.2
7.100.51.198.two.example A 127.0.0.4
7.100.51.198.servbl.example SERVFAIL
7.100.51.198.txtserv.example A 127.0.0.2
7.100.51.198.txtserv.example TXT:SERVFAIL
7.100.51.198.weird.example A 10.0.0.2
7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example A 127.0.0.9
mail.far.example.rhs.example A 127.0.0.2
good.example.rhs.example A 127.0.0.2
good.example.rhs.example TXT no good
backup.example MX 5 primary.example
backup.example MX 10 mine.example
primary.example A 203.0.113.5
mine.example A 127.0.0.1
mineonly.example MX 10 mine.example
notmine.example MX 10 primary.example
servbackup.example MX 5 serv.example
servbackup.example MX 10 mine.example
nullmxserv.example MX:SERVFAIL
both.example MX 10 mx.good.example
both.example MX 20 aonly.example
both.example A 198.51.100.20
"""
BASE = {
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8 192.0.2.0/24",
    "relay_domains": "rel.example",
    "local_recipient_maps": "inline:{{known=x} {root=x}}",
    "virtual_alias_domains": "virt.example",
    "virtual_alias_maps": "inline:{known@virt.example=x@far.example}",
    "recipient_delimiter": "+",
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "100000",
    "smtpd_soft_error_limit": "100000",
    "smtpd_junk_command_limit": "100000",
    "smtpd_peername_lookup": "no",
    "smtpd_authorized_xclient_hosts": "0.0.0.0/0",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
}
FAR = ("mail.far.example", "198.51.100.7")
NAMELESS = ("unknown", "198.51.100.7")
SIX = ("six.far.example", "2001:db8::7")
DOMAINS = """
good.example sub.good.example aonly.example nullmx.example emptymx.example mxnx.example loc.example nodata.example
serv.example mxserv.example mxtoserv.example badmx.example numeric.example cname.example nx.example [1.2.3.4]
[192.0.2.55] host
""".split()  # noqa: SIM905
SERVERS = (
    "inline:{{192.0.2=REJECT by net} {mx.good.example=REJECT mxname} {ns.good.example=550 5.7.1 nsname}"
    " {127.0.0.1=OK} {localhost=OK} {192.0.2.9=DEFER x} {aonly.example=REJECT the name} {nx.example=REJECT gone}}"
)


class Talk(Struct, frozen=True):
    client: tuple[str, str] = FAR
    helo: str = "good.example"
    sender: str = "u@good.example"
    recipients: tuple[str, ...] = ("known",)
    login: str = ""


FROM_ALL = tuple(Talk(sender=f"u@{domain}") for domain in DOMAINS)
HELO_ALL = tuple(Talk(helo=domain) for domain in (*DOMAINS, "[IPv6:::1]", "[1.2.3", "bad_", "dotted.example."))
TO_ALL = (Talk(("x.example", "198.51.100.9"), recipients=tuple(f"u@{domain}" for domain in DOMAINS)),)
ONE = (Talk(),)
CLIENTS = (Talk(), Talk(NAMELESS), Talk(SIX), Talk(sender=""), Talk(recipients=("u@far.example",)))
NAMED = tuple(
    Talk((name, "198.51.100.9")) for name in ("good.example", "unknown", "nx.example", "aonly.example", "loc.example")
)
BACKUP = tuple(
    f"u@{domain}.example" for domain in ("backup", "mineonly", "notmine", "servbackup", "serv", "nx", "rel", "nullmx")
)


def recipient(words: str) -> dict[str, str]:
    return {"smtpd_recipient_restrictions": words}


LOGINS = tuple(
    Talk(sender=sender, login=login)
    for sender in ("owned@good.example", "both@good.example", "free@good.example", "")
    for login in ("", "joe", "JOE", "ann")
)


def mismatch(kind: str) -> tuple[tuple[Talk, ...], dict[str, str]]:
    return LOGINS, {
        "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "auth",
        "smtpd_sender_login_maps": "inline:{{owned@good.example=joe} {both@good.example=joe, ann}}",
        "smtpd_sender_restrictions": f"reject_{kind}sender_login_mismatch",
        **recipient("check_sasl_access inline:{{ann=WARN it is ann}}, permit_sasl_authenticated, permit"),
    }  # fmt: skip


VARIANTS: Mapping[str, tuple[tuple[Talk, ...], dict[str, str]]] = {
    "sender domain": (FROM_ALL, {"smtpd_sender_restrictions": "reject_unknown_sender_domain"}),
    "sender domain at MAIL": (FROM_ALL, {
        "smtpd_delay_reject": "no", "smtpd_sender_restrictions": "reject_unknown_sender_domain",
    }),
    "sender domain, at once": (FROM_ALL, {
        "smtpd_sender_restrictions": "reject_unknown_sender_domain",
        "unknown_address_reject_code": "550", "unknown_address_tempfail_action": "defer",
    }),
    "recipient domain": (TO_ALL, {
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unknown_recipient_domain, permit",
        **recipient("reject_unauth_destination"),
    }),
    "HELO": (HELO_ALL, {"smtpd_helo_restrictions": "reject_unknown_helo_hostname"}),
    "HELO, at once": (HELO_ALL, {
        "smtpd_delay_reject": "no", "smtpd_helo_restrictions": "reject_unknown_helo_hostname",
        "unknown_hostname_reject_code": "550", "unknown_helo_hostname_tempfail_action": "defer",
    }),
    "sender mx": (FROM_ALL, {"smtpd_sender_restrictions": f"check_sender_mx_access {SERVERS}"}),
    "sender ns": (FROM_ALL, {"smtpd_sender_restrictions": f"check_sender_ns_access {SERVERS}"}),
    "sender a": (FROM_ALL, {"smtpd_sender_restrictions": f"check_sender_a_access {SERVERS}"}),
    "HELO mx": (HELO_ALL, {"smtpd_helo_restrictions": f"check_helo_mx_access {SERVERS}"}),
    "HELO ns": (HELO_ALL, {"smtpd_helo_restrictions": f"check_helo_ns_access {SERVERS}"}),
    "HELO a": (HELO_ALL, {"smtpd_helo_restrictions": f"check_helo_a_access {SERVERS}"}),
    "recipient mx": (TO_ALL, recipient(f"check_recipient_mx_access {SERVERS}") | {"smtpd_relay_restrictions":
        "permit_mynetworks, check_recipient_ns_access static:dunno, defer_if_permit, permit"}),
    "client mx": (NAMED, {
        "smtpd_client_restrictions": f"check_client_mx_access {SERVERS}, check_client_a_access {SERVERS}",
    }),
    "reverse client": (NAMED, {
        "smtpd_client_restrictions": f"check_reverse_client_hostname_mx_access {SERVERS}"
            f" check_reverse_client_hostname_a_access {SERVERS}, check_reverse_client_hostname_ns_access {SERVERS}",
    }),
    "reverse client access": (CLIENTS, {"smtpd_client_restrictions":
        "check_reverse_client_hostname_access inline:{{far.example=OK} {six.far.example=REJECT six} {unknown=DEFER}}"}),
    "dnsbl": (CLIENTS, recipient("reject_rbl_client bl.example")),
    "dnsbl, answer": (CLIENTS, recipient("reject_rbl_client two.example=127.0.0.4")),
    "dnsbl, other answer": (CLIENTS, recipient("reject_rbl_client two.example=127.0.0.[5..9]")),
    "dnsbl, one of": (CLIENTS, recipient("reject_rbl_client two.example=127.0.[0..3].[1;4;9]")),
    "dnsbl down": (CLIENTS, recipient("reject_rbl_client servbl.example")),
    "dnsbl, no reason": (CLIENTS, recipient("reject_rbl_client txtserv.example")),
    "dnsbl, odd answer": (CLIENTS, recipient("reject_rbl_client weird.example")),
    "dnsbl at connect": (ONE, {
        "smtpd_delay_reject": "no", "smtpd_client_restrictions": "permit_mynetworks reject_rbl_client bl.example",
    }),
    "rhsbl client": (CLIENTS, recipient("reject_rhsbl_client rhs.example")),
    "rhsbl reverse": (CLIENTS, recipient("reject_rhsbl_reverse_client rhs.example")),
    "rhsbl helo": (HELO_ALL, recipient("reject_rhsbl_helo rhs.example")),
    "rhsbl sender": (FROM_ALL, recipient("reject_rhsbl_sender rhs.example")),
    "rhsbl recipient": (TO_ALL, {
        "smtpd_relay_restrictions": "permit",
        **recipient("reject_rhsbl_recipient rhs.example, reject_unauth_destination"),
    }),
    "rhsbl at sender": (FROM_ALL[:3], {"smtpd_sender_restrictions": "reject_rhsbl_sender rhs.example=127.0.0.2"}),
    "dnswl": (CLIENTS, recipient("permit_dnswl_client bl.example, reject")),
    "dnswl, relay": (CLIENTS, {
        "smtpd_relay_restrictions": "permit_dnswl_client bl.example, reject_unauth_destination",
    }),
    "dnswl at connect": (CLIENTS, {
        "smtpd_delay_reject": "no",
        "smtpd_client_restrictions": "permit_mynetworks, permit_dnswl_client bl.example, reject",
    }),
    "rhswl": (CLIENTS, recipient("permit_rhswl_client rhs.example, reject")),
    "dnswl down": (CLIENTS, recipient("permit_dnswl_client servbl.example, reject")),
    "filter of MX": (FROM_ALL, {
        "smtpd_dns_reply_filter": "pcre:{{/ IN MX/ IGNORE}}",
        "smtpd_sender_restrictions": "reject_unknown_sender_domain",
    }),
    "filter of MX and A": (FROM_ALL, {
        "smtpd_dns_reply_filter": "pcre:{{/ IN (MX|A|AAAA) / ignore}}",
        "smtpd_sender_restrictions": "reject_unknown_sender_domain",
    }),
    "filter of HELO": (HELO_ALL, {
        "smtpd_dns_reply_filter": "pcre:{{/ IN (MX|A|AAAA) / IGNORE}}",
        "smtpd_helo_restrictions": "reject_unknown_helo_hostname",
    }),
    "filter of recipients": (TO_ALL, {
        "smtpd_dns_reply_filter": "pcre:{{/ IN (MX|A|AAAA) / IGNORE}}",
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unknown_recipient_domain, permit",
        **recipient("reject_unauth_destination"),
    }),
    "filter of servers": (FROM_ALL, {
        "smtpd_dns_reply_filter": "pcre:{{/ IN MX / IGNORE}}",
        "smtpd_sender_restrictions": f"check_sender_mx_access {SERVERS}",
    }),
    "filter of name servers": (FROM_ALL, {
        "smtpd_dns_reply_filter": "pcre:{{/ IN NS / IGNORE}}",
        "smtpd_sender_restrictions": f"check_sender_ns_access {SERVERS}",
    }),
    "filter of one kind": ((Talk(sender="u@both.example", helo="both.example"),), {
        "smtpd_dns_reply_filter": "pcre:{{/ IN MX / IGNORE}}",
        "smtpd_sender_restrictions": "reject_unknown_sender_domain",
        "smtpd_helo_restrictions": "reject_unknown_helo_hostname",
    }),
    "filter of another kind": ((Talk(sender="u@both.example", helo="both.example"), Talk(helo="aonly.example")), {
        "smtpd_dns_reply_filter": "pcre:{{/ IN A / IGNORE}}",
        "smtpd_sender_restrictions": "reject_unknown_sender_domain",
        "smtpd_helo_restrictions": "reject_unknown_helo_hostname",
    }),
    "filter of some": ((Talk(sender="u@both.example", helo="both.example"),), {
        "smtpd_dns_reply_filter": "pcre:{{/ IN MX 10 / IGNORE}}",
        "smtpd_sender_restrictions": f"check_sender_mx_access {SERVERS}, reject_unknown_sender_domain",
    }),
    "filter of a blocklist": (CLIENTS, {
        "smtpd_dns_reply_filter": "pcre:{{/ IN A 127.0.0.2/ IGNORE}}",
        **recipient("reject_rbl_client two.example=127.0.0.2, reject_rbl_client bl.example"),
    }),
    "filter of reasons": (CLIENTS, {
        "smtpd_dns_reply_filter": "pcre:{{/ IN TXT / IGNORE}}", **recipient("reject_rbl_client bl.example"),
    }),
    "filter of backups": ((Talk(("x.example", "198.51.100.9"), recipients=BACKUP),), {
        "smtpd_dns_reply_filter": "pcre:{{/ IN MX / IGNORE}}",
        "smtpd_relay_restrictions": "permit_mx_backup, reject_unauth_destination",
    }),
    "filter of nonsense": (FROM_ALL, {
        "smtpd_dns_reply_filter": "static:nonsense",
        "smtpd_sender_restrictions": "reject_unknown_sender_domain",
    }),
    "filter of nonsense, blocklist": (CLIENTS, {
        "smtpd_dns_reply_filter": "static:nonsense", **recipient("reject_rbl_client bl.example"),
    }),
    "reply maps": (CLIENTS, {
        "rbl_reply_maps": "texthash:$config_directory/replies", **recipient("reject_rbl_client bl.example"),
    }),
    "reply of unknown names": (CLIENTS, {
        "rbl_reply_maps": "inline:{bl.example=x$$nosuch}", **recipient("reject_rbl_client bl.example"),
    }),
    "reply of mistakes": (CLIENTS, {
        "default_rbl_reply": "REJECT no $rbl_what", **recipient("reject_rbl_client bl.example"),
    }),
    "other code": (CLIENTS, {"maps_rbl_reject_code": "450", **recipient("reject_rbl_client bl.example")}),
    "warn": (CLIENTS, recipient("warn_if_reject reject_rbl_client bl.example, reject_rhsbl_helo rhs.example")),
    "warn of a class": (CLIENTS, {
        "smtpd_restriction_classes": "mine", "mine": "reject_unknown_sender_domain, reject, permit_mynetworks, permit",
        **recipient("warn_if_reject mine, reject"),
    }),
    "warn of what is put off": (CLIENTS, recipient("warn_if_reject defer_if_permit, warn_if_reject defer_if_reject")),
    "mx backup": ((Talk(("x.example", "198.51.100.9"), recipients=BACKUP),), {
        "smtpd_relay_restrictions": "permit_mx_backup, reject_unauth_destination",
    }),
    "mx backup, networks": ((Talk(("x.example", "198.51.100.9"), recipients=BACKUP),), {
        "smtpd_relay_restrictions": "permit_mx_backup, reject_unauth_destination",
        "permit_mx_backup_networks": "203.0.113.0/24",
    }),
    "mx backup, other networks": ((Talk(("x.example", "198.51.100.9"), recipients=BACKUP),), {
        "smtpd_relay_restrictions": "permit_mx_backup, reject_unauth_destination",
        "permit_mx_backup_networks": "203.0.114.0/24",
    }),
    "login mismatch": mismatch(""),
    "login mismatch, known addresses": mismatch("known_"),
    "login mismatch, logged in": mismatch("authenticated_"),
    "login mismatch, strangers": mismatch("unauthenticated_"),
    "logins off": (ONE, {
        "smtpd_sender_login_maps": "static:joe", "smtpd_sender_restrictions": "reject_sender_login_mismatch",
    }),
    "certificates": (CLIENTS, recipient(
        "permit_tls_clientcerts, permit_tls_all_clientcerts, check_ccert_access static:reject, reject"
    )),
    "sleep": (ONE, recipient("sleep 0, reject")),
}  # fmt: skip
ACTIONS = (
    """
FILTER|FILTER nocolon|FILTER smtp:|FILTER smtp:[127.0.0.1]:9|filter smtp:x|REDIRECT|REDIRECT noat|REDIRECT a@b.example|\
PREPEND|PREPEND X-Foo: bar|PREPEND nocolon|PREPEND bad name: x|PREPEND X-A:|PREPEND X-Foo:nospace|BCC|BCC noat|\
BCC a@b.example|HOLD|HOLD why|DISCARD|DISCARD why|WARN|WARN why  twice|INFO|INFO why|DEFER_IF_PERMIT|\
DEFER_IF_PERMIT 5.1.1 x|DEFER_IF_REJECT|warn_if_reject reject|warn_if_reject, reject, permit|\
reject_rbl_client bl.example|reject_unknown_sender_domain|check_client_access hash:/x|sleep 0|\
REJECT|REJECT text|OK|DUNNO|450 4.7.9 x|defer_if_permit|permit_mynetworks,reject
""".strip()
    .replace("\\\n", "")
    .split("|")
)
EARLY = "\n".join(f"c{n}.example {action}" for n, action in enumerate(ACTIONS))
ACTING = tuple(Talk((f"c{n}.example", "198.51.100.9"), recipients=("known", "root")) for n in range(len(ACTIONS)))
ACTED = "check_client_access texthash:$config_directory/actions"
VARIANTS = {
    **VARIANTS,
    "actions": (ACTING, recipient(ACTED)),
    "actions, then reject": (ACTING, recipient(f"{ACTED}, reject")),
    "actions at connect": (ACTING, {"smtpd_delay_reject": "no", "smtpd_client_restrictions": ACTED}),
    "actions at MAIL": (ACTING, {"smtpd_delay_reject": "no", "smtpd_sender_restrictions": ACTED}),
    "actions at DATA": (ACTING, {"smtpd_data_restrictions": ACTED}),
    "actions under warning": (ACTING, recipient(f"warn_if_reject {ACTED}, reject")),
}  # fmt: skip
FILES = {
    "replies": "bl.example $rbl_code 5.1.2 $client|$client_address|$client_name|$helo_name|$rbl_what|$rbl_class|"
    "$rbl_domain|$rbl_reason|$recipient|$recipient_domain|$recipient_name|$sender|$sender_domain|"
    "$sender_name|$reverse_client_name|${client_port?port}|${rbl_reason?yes}|${rbl_reason:no}\n",
    "actions": EARLY + "\n",
}
