"""What explain says of a session is what a session hears: on random restriction lists, with the same clients."""

import contextlib
import io
import json
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from postwarden.cli import explain
from postwarden.config.settings import load
from postwarden.mail.verified import BOUNCE, DEFER, OK, Verified
from postwarden.testing.reception import Reception
from postwarden.testing.verifier import FakeVerifier
from postwarden.verify import file
from postwarden.verify.cache import Known

BASE = """\
compatibility_level = 3.6
myhostname = mx.here.example
mydestination = here.example
local_recipient_maps = inline:{ann=x}
alias_maps =
relay_domains = relay.example
smtpd_peername_lookup = yes
smtpd_restriction_classes = strict, lax
strict = reject_non_fqdn_sender, reject_unlisted_sender, check_helo_access inline:{pc=REJECT}
lax = permit_auth_destination, defer_if_reject
"""
# Without the network every name server is silent.
ZONE = """
10.2.0.192.in-addr.arpa PTR client.example.net
client.example.net A 192.0.2.10
10.2.0.192.list.example SERVFAIL
far.example SERVFAIL
pc.far.example SERVFAIL
pc SERVFAIL
bad_name SERVFAIL
here.example SERVFAIL
mx.here.example SERVFAIL
relay.example SERVFAIL
else.example SERVFAIL
"""
KEYS = ("client.example.net", "bob@far.example", "ann@here.example", "pc.far.example", "else.example")
ACTIONS = (
    "OK", "REJECT", "DEFER", "DUNNO", "450 4.2.0 later", "550 5.1.1 no", "DEFER_IF_PERMIT", "DEFER_IF_REJECT",
    "permit_mynetworks", "strict", "lax", "WARN look", "HOLD", "FILTER no-target", "nonsense", "REJECT 5.7.2 go",
)  # fmt: skip
RESTRICTIONS = (
    "permit", "reject", "defer", "permit_mynetworks", "reject_unauth_destination", "permit_auth_destination",
    "defer_unauth_destination", "reject_non_fqdn_sender", "reject_non_fqdn_recipient", "reject_unlisted_recipient",
    "reject_unlisted_sender", "reject_invalid_helo_hostname", "reject_non_fqdn_helo_hostname", "defer_if_permit",
    "defer_if_reject", "warn_if_reject reject", "warn_if_reject strict",
    "reject_unknown_client_hostname", "permit_sasl_authenticated", "strict",
    "lax", "reject_unknown_sender_domain", "reject_unknown_helo_hostname", "reject_rbl_client list.example",
    "permit_dnswl_client list.example", "reject_multi_recipient_bounce", "reject_plaintext_session",
    "reject_unverified_sender", "reject_unverified_recipient", "warn_if_reject reject_unverified_recipient",
)  # fmt: skip
SWITCHES = (
    "smtpd_delay_reject", "smtpd_relay_before_recipient_restrictions", "soft_bounce", "smtpd_reject_unlisted_recipient",
)  # fmt: skip
VERIFIED = {
    "ann@here.example": Verified(OK, "250 Ok"),
    "bob@far.example": Verified(BOUNCE, "host mx.far.example said: 550 no"),
    "x@relay.example": Verified(DEFER, "connect to mx.relay.example: Connection refused"),
}
"""Of others nothing is known."""
LISTS = ("client", "helo", "sender", "relay", "recipient")


@st.composite
def restriction(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 3)):
        return draw(st.sampled_from(RESTRICTIONS))
    kind = draw(st.sampled_from(("client", "helo", "sender", "recipient")))
    entries = ",".join(f"{{{key}={draw(st.sampled_from(ACTIONS))}}}" for key in KEYS)
    return f"check_{kind}_access inline:{{{entries}}}"


@st.composite
def configuration(draw: st.DrawFn) -> str:
    lines = [BASE]
    for name in LISTS:
        words = draw(st.lists(restriction(), max_size=3))
        if name == "relay":
            # A list that closes nothing is no configuration.
            words = [word for word in words if word != "permit"]
            words.append(draw(st.sampled_from(("reject_unauth_destination", "defer_unauth_destination", "reject"))))
        lines.append(f"smtpd_{name}_restrictions = {', '.join(words)}\n")
    lines += [f"{name} = {draw(st.sampled_from(('yes', 'no')))}\n" for name in SWITCHES]
    lines += [
        f"unverified_{who}_reject_code = {draw(st.sampled_from((450, 550)))}\n" for who in ("sender", "recipient")
    ]
    lines.append(f"mynetworks = {draw(st.sampled_from(('127.0.0.0/8', '192.0.2.0/24')))}\n")
    return "".join(lines)


def heard(directory: str, helo: str, sender: str, recipients: list[str]) -> list[str]:
    """What a session hears, command by command; it ends where the server hangs up."""
    peer = Reception(config=load(directory), zone=ZONE, verifier=FakeVerifier(VERIFIED)).connect("192.0.2.10")
    lines = (f"EHLO {helo}", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in recipients))
    replies = [peer.hear(), *(peer.say(line) for line in lines if not peer.closed)]
    return [reply.replace("\r\n", "\n").strip() for reply in replies]


@given(
    main_cf=configuration(),
    helo=st.sampled_from(("pc.far.example", "pc", "bad_name", "[192.0.2.10]")),
    sender=st.sampled_from(("bob@far.example", "bob", "", "ann@here.example", "eve@here.example")),
    recipients=st.lists(
        st.sampled_from(("ann@here.example", "eve@here.example", "x@relay.example", "x@else.example", "postmaster")),
        min_size=1,
        max_size=2,
    ),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_explain_says_what_a_session_hears(main_cf: str, helo: str, sender: str, recipients: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        map_ = f"address_verify_map = btree:{directory}/verify\n"
        (Path(directory) / "main.cf").write_text(main_cf + map_)
        (Path(directory) / "master.cf").write_text("smtp inet n - n - - smtpd\n")
        file.write(f"{directory}/verify.sqlite", {
            address: Known(one.status, one.text, time.time() - 60) for address, one in VERIFIED.items()
        })  # fmt: skip
        replies = heard(directory, helo, sender, recipients)
        to = [word for one in recipients for word in ("--to", one)]
        who = ["--client", "192.0.2.10", "--name", "client.example.net", "--helo", helo, "--from", sender, *to]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = explain.main("explain", [directory, "-j", "--offline", *who])
        said = json.loads(out.getvalue())
    assert [one["reply"] for one in said["exchanges"]] == replies
    refused = any(reply[:1] in "45" for reply in replies)
    event("refused" if refused else "let in")
    assert (said["accepted"], code) == (not refused, int(refused))
