"""Heads that are made to cost more than their length."""

import time

from postwarden.content.addresses import rewritten
from postwarden.testing.reception import Reception


def test_angle_brackets_that_nobody_closes() -> None:
    def cost(count: int) -> float:
        began = time.process_time()
        assert rewritten(b"To: a>" + b"<" * count + b"\r\n", str, 10_240).startswith(b"To: ")
        return time.process_time() - began

    assert cost(400_000) < 30 * max(cost(50_000), 0.01)


def test_a_megabyte_of_message_ids_does_not_fill_the_log() -> None:
    made = Reception("relay_domains = relay.example\nmynetworks = 127.0.0.0/8\n")
    peer = made.connect("192.0.2.10")
    heads = [b"Message-Id: <%d>\r\n" % n for n in range(20_000)]
    peer.say("HELO x", "MAIL FROM:<>", "RCPT TO:<x@relay.example>", "DATA", b"".join(heads), ".")
    assert 0 < sum("message-id=" in line for line in made.log) <= 10
    assert made.store.messages[0][1].count(b"Message-Id:") == 20_000


def test_a_message_id_without_end_is_not_carried_along() -> None:
    made = Reception("relay_domains = relay.example\nmynetworks = 127.0.0.0/8\n")
    peer = made.connect("192.0.2.10")
    peer.say("HELO x", "MAIL FROM:<>", "RCPT TO:<x@relay.example>", "DATA", f"Message-Id: <{'x' * 90_000}>", ".")
    assert len(made.store.messages[0][0].message_id) < 1000
    assert len(made.log[-1]) < 10_000
