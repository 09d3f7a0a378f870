"""Random configurations and messages: envelope and header as cleanup(8) stores them."""

import random

import pytest
from tests.interop.test_content import BASE, OURS, STRANGER, Ours, Sent, deliver, differences, read_queue_file
from tests.rewrite_service import Judges, needs_postfix

pytestmark = [needs_postfix, pytest.mark.postfix]

NAMES = ["joe", "joe+x", "ann", "root", "a.b", "list", "jürgen", "x-y", "two+e+f"]
PLACES = [
    "mx.example.com", "example.com", "origin.example", "host.example.com", "deep.host.example.com", "far.example",
    "virt.example", "other.example", "far", "[127.0.0.1]", "müller.example",
]  # fmt: skip
ODD = [
    "joe!ann@far.example", "a%b@mx.example.com", "p%q.example", "host!user", "u@far.example.", "x@y@z.example",
]  # fmt: skip
TARGETS = ["t1@far.example", "joe@mx.example.com", "ann", "new+k@other.example", "@moved.example", "c@host.example.com"]
CLASSES = ["envelope_sender", "envelope_recipient", "header_sender", "header_recipient"]
FIELDS = ["From", "Sender", "Reply-To", "To", "Cc", "Resent-From", "Resent-To", "Errors-To", "Subject", "Bcc"]


class Draw:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.settings = BASE | self._settings()

    def sent(self) -> Sent:
        choice, count = self.random.choice, self.random.randint
        fields = [
            f"{name}: {', '.join(self._written() for _ in range(count(1, 3)))}\r\n"
            for name in self.random.sample(FIELDS, count(1, 5))
        ]
        head = "Message-Id: <m@x>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n" + "".join(fields)
        if "Resent-" in head:
            # Without one it is made of the time of day, which goes on.
            head += "Resent-Message-Id: <r@x>\r\n"
        people = tuple(dict.fromkeys(self.address() for _ in range(count(1, 4))))
        sender = self.address() if self.random.random() < 0.9 else ""
        return Sent(choice([OURS, STRANGER]), sender, people, f"{head}\r\nbody\r\n".encode())

    def address(self) -> str:
        if self.random.random() < 0.1:
            return self.random.choice(ODD).replace('"', "")
        name = self.random.choice(NAMES)
        return name if self.random.random() < 0.1 else f"{name}@{self.random.choice(PLACES)}"

    def _written(self) -> str:
        address = self.random.choice(ODD) if self.random.random() < 0.1 else self.address().replace("a b", "ab")
        if address.count("@") > 1:
            address = "x@z.example"
        return self.random.choice([address, f"<{address}>", f"Some Body <{address}>", f"{address} (comment)"])

    def _settings(self) -> dict[str, str]:
        choice = self.random.choice
        chosen = {name: self._table() for name in (
            "canonical_maps", "sender_canonical_maps", "recipient_canonical_maps", "virtual_alias_maps",
            "sender_bcc_maps", "recipient_bcc_maps",
        )}  # fmt: skip
        chosen |= {
            name: ", ".join(self.random.sample(CLASSES, self.random.randint(1, 4)))
            for name in ("canonical_classes", "masquerade_classes")
            if self.random.random() < 0.4
        }
        if self.random.random() < 0.5:
            chosen["masquerade_domains"] = choice(["example.com", "!host.example.com example.com", "host.example.com"])
            chosen["masquerade_exceptions"] = choice(["", "root", "root, joe"])
        if self.random.random() < 0.3:
            chosen["propagate_unmatched_extensions"] = choice(["", "canonical", "virtual"])
        if self.random.random() < 0.4:
            chosen["remote_header_rewrite_domain"] = "invalid.example"
        for name in ("append_dot_mydomain", "swap_bangpath", "allow_percent_hack"):
            if self.random.random() < 0.3:
                chosen[name] = choice(["yes", "no"])
        return chosen | {
            "mydestination": choice(["$myhostname", "$myhostname, example.com, localhost", ""]),
            "myorigin": choice(["$myhostname", "origin.example"]),
            "recipient_delimiter": choice(["", "+", "-", "+-"]),
            "always_bcc": choice(["", "", "archive@far.example"]),
            "virtual_alias_domains": "virt.example",
        }

    def _table(self) -> str:
        if self.random.random() < 0.4:
            return ""
        keys = [*NAMES, *(f"@{place}" for place in PLACES), *(f"{name}@{place}" for name in NAMES for place in PLACES)]
        lines = [f"{{{key}={self.random.choice(TARGETS)}}}" for key in self.random.sample(keys, 25)]
        return f"inline:{{{' '.join(lines)}}}"


def wrong(seed: int, messages: int) -> list[object]:
    draw = Draw(seed)
    ours = Ours(**draw.settings)
    found: list[object] = []
    with Judges(**draw.settings) as judges:
        for _ in range(messages):
            one = draw.sent()
            queue_id, reply = deliver(judges, one)
            arrival, theirs = read_queue_file(judges, queue_id) if queue_id else (0.0, reply)
            found += [(one, *pair) for pair in differences(theirs, ours.store(one, queue_id, arrival))]
    return [draw.settings, *found] if found else []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_messages(seed: int) -> None:
    assert not wrong(seed, 20)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1060))
def test_more_random_messages(seed: int) -> None:
    assert not wrong(seed, 30)
