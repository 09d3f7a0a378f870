"""What is stored of a message, as cleanup(8) stores it: envelope, headers and log line, message by message."""

import re
import subprocess
import time
from collections.abc import Iterator

import pytest
from msgspec import Struct
from tests.rewrite_service import Judges, needs_postfix
from tests.whole import until

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.view import view
from postwarden.content.prepare import Preparer
from postwarden.mail.address import external
from postwarden.mail.envelope import Client, Envelope, Notify, Recipient
from postwarden.mail.events import Event, MessageIdSeen
from postwarden.mail.reply import Reply
from postwarden.receive.content import mark_from_lines, split_head
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

BASE = {
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "local_header_rewrite_clients": "permit_mynetworks",
    "smtpd_relay_restrictions": "check_client_access static:OK reject",
    "smtpd_reject_unlisted_recipient": "no",
    "smtpd_peername_lookup": "no",
    "smtpd_error_sleep_time": "0",
    "defer_transports": "smtp local relay virtual lmtp",
    "recipient_delimiter": "+",
    "virtual_alias_domains": "virt.example",
}
OURS, STRANGER = "127.0.0.1", "198.51.100.7"
FULL = (
    b"From: a@b.example\r\nTo: c@d.example\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <x@y>\r\n"
    b"Subject: s\r\n"
)
PLAIN = FULL + b"\r\nbody\r\n"
LISTS = b"From: user\r\nTo: other, x@host, <y@z.example>\r\nCc: a!b, c%d@e.example\r\n\r\nb\r\n"
MESSAGES = (
    PLAIN,
    b"\r\nbody\r\n",
    b"body without header\r\n",
    b"",
    b"Subject: only\r\n",
    b"Subject: x\r\nnot a header\r\nmore\r\n",
    FULL + b"Bcc: secret@x\r\nReturn-Path: <q@q>\r\nContent-Length: 5\r\nresent-bcc: z\r\nBCC :\r\n fold\r\n\r\nb\r\n",
    LISTS,
    b"Resent-From: u@v.example\r\nSubject: s\r\n\r\nb\r\n",
    b"Resent-To: u@v.example\r\nFrom: x@y.example\r\nMessage-Id: <1@2>\r\n\r\nb\r\n",
    b"Message-ID:\r\n <folded@x>\r\nFrom: a@b.example\r\n\r\nb\r\n",
    b"message-id: <a@b> comment\r\n\tmore\r\n\r\n",
    b"MESSAGE-ID :<nospace@x>\r\n\r\n",
    b"Message-Id: \r\n\r\nx\r\n",
    b"Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n",
    FULL + b"X-Long: " + b"a" * 3000 + b"\r\n\r\nb\r\n",
    FULL + b"X-Fold: a\r\n" + b" bbbbbbbbbbbbbbbbbbbbbb\r\n" * 20 + b"\r\nb\r\n",
    b"Cc: c@d.example\r\n\r\nb\r\n",
    b"Bcc: c@d.example\r\n\r\nb\r\n",
    b"To:\r\n\r\nb\r\n",
    b"From:\r\n\r\nb\r\n",
    b"From x@y Mon\r\nSubject: s\r\n\r\nb\r\n",
    b">From x\r\n>From y\r\nSubject: s\r\n\r\nb\r\n",
    b"Received: 1\r\n" * 10 + FULL + b"\r\nb\r\n",
    b"Sender: joe\r\nReply-To: jim\r\nErrors-To: e\r\nReturn-Receipt-To: r\r\nDisposition-Notification-To: d\r\n"
    b"Mail-Followup-To: m\r\nApparently-To: ap\r\nResent-Sender: rs\r\nResent-Cc: rc\r\nResent-Reply-To: rr\r\n"
    b"Delivered-To: dt\r\n\r\n",
    b" leading\r\nSubject: s\r\n\r\nb\r\n",
    b"Date: x\r\n\r\n",
    b"Subject: \xc3\xbc\r\nX: \xff\r\n\r\n",
    b"Resent-Date: d\r\nResent-Message-Id: <r@s>\r\nResent-From: q@w.example\r\nResent-To: g@h.example\r\n\r\n",
    b"X-Empty:\r\nFrom : sp@ace.example\r\n\r\n",
    b"From: =?utf-8?q?a?= <j@k.example> (comment)\r\nTo: undisclosed-recipients:;\r\n\r\n",
)
LISTED = (
    'user, two|Joe User <user>|"Joe, User" <user>|user (comment)|(c1) user (c2)|<user>|group: a, b@c.example, Joe <d>;'
    '|undisclosed-recipients:;, user|a@b.example, user|a b c|"q s"@x.example, user|user,|,user|, ,user|user;|a.b.c|a .b'
    "|user @ host.example , x|J\u00f6rg <user>|user <a@b.example>|<@r1.example,@r2.example:user@host>|a%b"
    '|[1.2.3.4], user|x@[1.2.3.4], user|<>|""|user, <>|foo\\ bar|"foo\\"bar" <user>|N. Dot <user>|user <x> <y>'
    "|(a (nested) c) user|a@b.example (x), user(y)|user@host (Joe)|A@B, user|(only comment)|u ser@x.example, u"
    "|a=b+c/d, u|'quoted' <user>|Joe@Home <user>|a, b, c, d, e, f, g, hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh, "
    "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii, jjjjjjjjjjjjjjjjjjj|user\r\n (folded, comment)"
)
RECIPIENTS = """
a@virt.example a+x@virt.example b@virt.example c@virt.example d+e@virt.example self@virt.example list@virt.example
any@cat.example any+e@cat.example joe joe+x joe@mx.example.com joe+x@mx.example.com host@h r@far.example R@FAR.example
A@VIRT.example u@far.example. p%q.example@mx.example.com x!y quoted"x@far.example can@far.example can+t@far.example
dup1@virt.example dup2@virt.example bcc@far.example MAILER-DAEMON two@virt.example multi@virt.example err@virt.example
canv@far.example
""".split()  # noqa: SIM905
ALIASES = """inline:{ {a@virt.example=x@far.example} {b@virt.example=c@virt.example}
 {c@virt.example=joe, c2@far.example} {d@virt.example=dd@far.example} {loop@virt.example=loop2@virt.example}
 {loop2@virt.example=loop@virt.example} {self@virt.example=self@virt.example, other@far.example}
 {list@virt.example=l1 l2,l3@far.example} {@cat.example=@far.example} {joe=jim@far.example}
 {dup1@virt.example=dup@far.example} {dup2@virt.example=dup@far.example}
 {two@virt.example=dup1@virt.example dup2@virt.example} {canv@c.example=vv@far.example}
 {multi@virt.example="a b"@far.example, <br@far.example>, Name <n@far.example>, (com) k@far.example} }"""
LIMITED = """inline:{ {big@virt.example=1,2,3,4,5,6,7} {deep1@virt.example=deep2@virt.example}
 {deep2@virt.example=deep3@virt.example} {deep3@virt.example=deep4@virt.example}
 {deep4@virt.example=deep5@virt.example} {long@virt.example=a23456789012345678901234567890123456789@b.example} }"""
NOWHERE = "texthash:/nonexistent"


class Sent(Struct, frozen=True):
    client: str
    sender: str
    recipients: tuple[str, ...]
    """Each with the parameters that follow it."""
    message: bytes


def sent(
    *messages: bytes,
    senders: tuple[str, ...] = ("s@far.example",),
    recipients: tuple[str, ...] = ("r@far.example",),
    clients: tuple[str, ...] = (OURS, STRANGER),
) -> list[Sent]:
    return [Sent(c, s, recipients, m) for c in clients for s in senders for m in messages]


ALL = tuple(RECIPIENTS)
EACH = [one for recipient in RECIPIENTS for one in sent(PLAIN, recipients=(recipient,), clients=(OURS,))]
CONFIGURATIONS: dict[str, tuple[list[Sent], dict[str, str]]] = {
    "headers": (sent(*MESSAGES), {}),
    "lists in headers": (
        sent(*(FULL + f"Cc: {value}\r\n\r\n".encode() for value in LISTED.split("|")), clients=(OURS,)),
        {},
    ),
    "null sender, short senders": (sent(*MESSAGES[:3], MESSAGES[4], senders=("", "joe", "joe@host")), {}),
    "headers always": (sent(*MESSAGES), {
        "always_add_missing_headers": "yes",
        "undisclosed_recipients_header": "To: undisclosed-recipients:;",
    }),
    "long queue ids": (sent(*MESSAGES[:5]), {"enable_long_queue_ids": "yes"}),
    "a domain for strangers": (sent(*MESSAGES), {"remote_header_rewrite_domain": "invalid.example"}),
    "domains completed": (sent(*MESSAGES), {"append_dot_mydomain": "yes"}),
    "other headers dropped": (sent(*MESSAGES), {
        "message_drop_headers": "subject, x-fold",
        "always_add_missing_headers": "yes",
    }),
    "short headers": (sent(*MESSAGES), {"header_size_limit": "100"}),
    "hops": (sent(*(b"Received: x\r\n" * n + PLAIN for n in range(47, 52))), {}),
    "recipients": (sent(PLAIN, recipients=ALL, senders=("s@far.example", "joe", "joe@host", "A@B.C")) + EACH, {}),
    "virtual aliases": (
        EACH
        + sent(PLAIN, recipients=ALL)
        + sent(PLAIN, recipients=("a@virt.example ORCPT=rfc822;foo@bar NOTIFY=NEVER", "a@virt.example NOTIFY=NEVER")),
        {"virtual_alias_maps": ALIASES},
    ),
    "extensions kept back": (sent(PLAIN, recipients=ALL), {
        "virtual_alias_maps": ALIASES,
        "propagate_unmatched_extensions": "",
    }),
    "canonical": (sent(PLAIN, LISTS, recipients=ALL, senders=("joe", "joe@h", "can@far.example", "snd@far.example")), {
        "virtual_alias_maps": ALIASES,
        "append_dot_mydomain": "yes",
        "canonical_maps": "inline:{ {can@far.example=canon@c.example} {joe=joseph} {user=person@c.example}"
        " {@host.example=@canonical.example} {canv@far.example=canv@c.example} {any@cat.example=@moved.example} }",
        "sender_canonical_maps": "inline:{ {snd@far.example=sent@c.example} {joe=jsender} {user=shown@c.example} }",
        "recipient_canonical_maps": "inline:{ {r@far.example=rc@c.example} {can@far.example=can@two.example}"
        " {can@two.example=no@no.example} {other=one@c.example} }",
    }),
    "canonical in one place": (sent(PLAIN, LISTS, recipients=ALL, senders=("joe", "can@far.example")), {
        "canonical_maps": "inline:{ {can@far.example=canon@c.example} {joe=joseph} {user=person@c.example} }",
        "canonical_classes": "envelope_sender",
    }),
    "masquerading": (
        sent(
            PLAIN,
            LISTS,
            b"From: Joe <joe@a.b.example.com>, root@h.example.com\r\nTo: t@h.example.com\r\n\r\n",
            recipients=("x@a.b.example.com", "y@host.example.com", "root@host.example.com"),
            senders=("j@a.example.com", "root@a.example.com", "x@Example.com", "x@a.other.example", "X@H.Example.com"),
        ),
        {"masquerade_domains": "other.example !a.example.com example.com", "masquerade_exceptions": "root"},
    ),
    "copies": (
        sent(PLAIN, recipients=(*ALL[:5], "bcc@far.example"), senders=("s@far.example", "snd@far.example", "")),
        {
            "virtual_alias_maps": ALIASES,
            "always_bcc": "archive",
            "sender_bcc_maps": "inline:{ {snd@far.example=sb@far.example} }",
            "recipient_bcc_maps": "inline:{ {bcc@far.example=a@virt.example} {a@virt.example=rb@far.example}"
            " {@virt.example=vb} }",
        },
    ),
    "limits": (
        [one for name in ("big", "deep1", "long") for one in sent(PLAIN, recipients=(f"{name}@virt.example",))],
        {
            "virtual_alias_maps": LIMITED,
            "virtual_alias_expansion_limit": "5",
            "virtual_alias_recursion_limit": "3",
            "virtual_alias_address_length_limit": "40",
        },
    ),
    "a loop": (sent(PLAIN, recipients=("loop@virt.example",)), {"virtual_alias_maps": ALIASES}),
    "originals forgotten": (sent(PLAIN, recipients=ALL), {
        "virtual_alias_maps": ALIASES,
        "enable_original_recipient": "no",
    }),
    "aliases missing": (sent(PLAIN), {"virtual_alias_maps": NOWHERE}),
    "canonical map missing": (sent(PLAIN), {"canonical_maps": NOWHERE}),
}  # fmt: skip


class Stored(Struct, frozen=True):
    sender: str
    recipients: list[tuple[str, str, str, int]]
    content: bytes


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_message_is_stored_as_postfix_stores_it(name: str) -> None:
    every, parameters = CONFIGURATIONS[name]
    parameters = BASE | {key: value.replace("\n", " ") for key, value in parameters.items()}
    ours = Ours(**parameters)
    wrong: list[str] = []
    logged: dict[str, list[str]] = {}
    with Judges(**parameters) as judges:
        for one in every:
            # Their smtpd and their cleanup each look at the clock, and a second may end between the two.
            for _ in range(20):
                queue_id, reply = deliver(judges, one)
                arrival, theirs = read_queue_file(judges, queue_id) if queue_id else (0.0, reply)
                found = [f"{one}:\n  {t}\n  {o}" for t, o in differences(theirs, ours.store(one, queue_id, arrival))]
                if not found:
                    break
            logged[queue_id] = ours.logged
            wrong += found
        logged.pop("", None)
        if logged:
            until(lambda: f"{list(logged)[-1]}: message-id=" in judges.log())
        for queue_id, lines in logged.items():
            theirs_logged = re.findall(rf"cleanup\[\d+\]: {queue_id}: ((?:resent-)?message-id=.*)", judges.log())
            if theirs_logged != lines:
                wrong.append(f"log: {theirs_logged} | {lines}")
    assert not wrong, "\n".join(wrong)


def differences(theirs: Stored | str, ours: Stored | str) -> Iterator[tuple[object, object]]:
    if isinstance(theirs, str) or isinstance(ours, str):
        if theirs != ours:
            yield theirs, ours
        return
    for one, other in zip(
        (theirs.sender, theirs.recipients, theirs.content), (ours.sender, ours.recipients, ours.content), strict=True
    ):
        if one != other:
            yield one, other


def deliver(judges: Judges, one: Sent) -> tuple[str, str]:
    """(queue id, "") or ("", the reply)."""
    with judges.smtp() as smtp:
        smtp.command_encoding = "utf-8"
        smtp.ehlo("me.example")
        if one.client != OURS:
            smtp.docmd(f"XCLIENT NAME=mail.far.example ADDR={one.client}")
            smtp.ehlo("mail.far.example")
        plain = one.sender.isascii() and "".join(one.recipients).isascii()
        assert smtp.docmd(f"MAIL FROM:<{external(one.sender)}>{'' if plain else ' SMTPUTF8'}")[0] == 250
        for recipient in one.recipients:
            address, _, parameters = recipient.partition(" ")
            assert smtp.docmd(f"RCPT TO:<{external(address)}> {parameters}".rstrip())[0] == 250
        assert smtp.docmd("DATA")[0] == 354
        smtp.send(re.sub(rb"(?m)^\.", b"..", one.message) + b".\r\n")
        code, text = smtp.getreply()
    return (text.decode().rpartition(" ")[2], "") if code == 250 else ("", f"{code} {text.decode()}")


def read_queue_file(judges: Judges, queue_id: str) -> tuple[float, Stored]:
    """When it came, and what was stored, without our Received line."""
    found: list[bytes] = []

    def there() -> bool:
        # A file that moves between queues is looked for twice.
        done = subprocess.run(["postcat", "-c", judges.etc, "-q", queue_id], capture_output=True, timeout=20)
        found.append(done.stdout)
        return done.returncode == 0

    until(there)
    envelope, _, rest = found[-1].partition(b"*** MESSAGE CONTENTS ")
    content, _, extracted = rest.partition(b"\n")[2].rpartition(b"*** HEADER EXTRACTED ")
    extracted = extracted.partition(b"\n")[2].partition(b"*** MESSAGE FILE END")[0]
    sender, arrival = "", 0.0
    recipients: list[tuple[str, str, str, int]] = []
    held = {"original_recipient": "", "dsn_orig_rcpt": "", "notify_flags": "0"}
    for line in (envelope + b"\n" + extracted).decode().split("\n"):
        key, _, value = line.partition(": ")
        if key == "named_attribute":
            key, _, value = value.partition("=")
        if key in held:
            held[key] = value
        elif key == "sender":
            sender = value
        elif key == "message_arrival_time":
            arrival = time.mktime(time.strptime(value))
        elif key == "recipient":
            original = "" if held["original_recipient"] == value else held["original_recipient"]
            recipients.append((value, original, held["dsn_orig_rcpt"], int(held["notify_flags"])))
            held = dict.fromkeys(held, "") | {"notify_flags": "0"}
    content = content.replace(b"\n", b"\r\n")
    received = re.match(rb"Received: [^\n]*\n(?:[ \t][^\n]*\n)*", content)
    assert received
    return arrival, Stored(sender, recipients, content[received.end() :])


class Ours:
    def __init__(self, **parameters: str) -> None:
        chosen = settings("", **parameters)
        tables = Tables.of(chosen)
        self._events: list[Event] = []
        rewriter = Rewriter(view(RewriteParams, chosen))
        addressing = Addressing(rewriter, open_resolver(chosen, tables).by_name_alone)
        self._prepare = Preparer(chosen, "", tables, addressing, self._events.append)

    @property
    def logged(self) -> list[str]:
        return [str(event).partition(": ")[2] for event in self._events if isinstance(event, MessageIdSeen)]

    def store(self, one: Sent, queue_id: str, arrival: float) -> Stored | str:
        self._events.clear()
        head, body = split_head(mark_from_lines(one.message))
        recipients = tuple(map(recipient_of, one.recipients))
        envelope = Envelope(queue_id, arrival, one.sender, recipients, 0, client=Client("x", one.client))
        prepared = self._prepare(envelope, b"Received: x\r\n" + head)
        if isinstance(prepared, Reply):
            return str(prepared)
        stored = [(r.address, r.original, r.orcpt, r.notify) for r in prepared.envelope.recipients]
        return Stored(prepared.envelope.sender, stored, (prepared.head + body).partition(b"\n")[2])


class Addressing:
    def __init__(self, rewriter: Rewriter, by_name_alone: object) -> None:
        self.rewrite = rewriter.rewrite
        self.by_name_alone = by_name_alone


def recipient_of(text: str) -> Recipient:
    """smtpd(8) stores an ORCPT even for a client that gave none."""
    address, _, parameters = text.partition(" ")
    given = re.search(r"ORCPT=(\S+)", parameters)
    notify = int(Notify.NEVER) if "NEVER" in parameters else 0
    return Recipient(address, "", given[1] if given else f"rfc822;{external(address)}", notify)
