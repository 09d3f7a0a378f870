"""Content whose tables have to be waited for: the same messages, and few evaluations."""

import asyncio

import pytest

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.view import view
from postwarden.content.prepare import Prepared, Preparer
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.reply import Reply
from postwarden.tables.opening import Tables
from postwarden.tables.remote.waiting import Waiting
from postwarden.testing.asking import AskingOnDemand, wrap_all
from postwarden.testing.clock import VirtualClock
from postwarden.testing.config import settings

NUMBER = 1000


class _Addressing:
    def __init__(self, rewrite: object, by_name_alone: object) -> None:
        self.rewrite, self.by_name_alone = rewrite, by_name_alone


class Scene:
    """`rounds` counts how often content was asked."""

    def __init__(self, *, slow: bool, **parameters: str) -> None:
        self.clock = VirtualClock()
        self.asking = AskingOnDemand(self.clock, 3.0)
        chosen = settings(**parameters)
        tables = Tables.of(chosen, asker=self.asking if slow else None)
        resolver = open_resolver(chosen, tables)
        addressing = _Addressing(Rewriter(view(RewriteParams, chosen)).rewrite, resolver.by_name_alone)
        self.prepare = Preparer(chosen, "", tables, addressing, lambda event: None)  # type: ignore[arg-type]
        self.rounds = 0

    def __call__(self, head: bytes, *recipients: str) -> Prepared | Reply:
        envelope = Envelope("QUEUEID", 0.0, "me@example.com", tuple(Recipient(one) for one in recipients), 100)

        async def settled() -> Prepared | Reply:
            while True:
                self.rounds += 1
                self.clock.run()
                try:
                    return self.prepare(envelope, head, local=True)
                except Pending as pending:
                    await pending.fetch()

        return asyncio.run(settled())


def both(monkeypatch: pytest.MonkeyPatch, head: bytes, *recipients: str, **parameters: str) -> Scene:
    """The message is the same; the scene with slow tables."""
    expected = Scene(slow=False, **parameters)(head, *recipients)
    monkeypatch.setattr(Waiting, "wrap", wrap_all)
    scene = Scene(slow=True, **parameters)
    assert scene(head, *recipients) == expected
    assert scene.asking.asked
    return scene


def test_many_recipients(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = both(
        monkeypatch,
        b"To: a@example.com\r\n",
        *(f"user{number}+x@example.com" for number in range(NUMBER)),
        virtual_alias_maps="inline:{user1@example.com=one@far.example, @other.example=two@far.example}",
        recipient_canonical_maps="inline:{user2@example.com=user3@example.com}",
        recipient_bcc_maps="inline:{user4@example.com=copy@example.com}",
        sender_bcc_maps="inline:{me@example.com=sent@example.com}",
        recipient_delimiter="+",
    )
    assert scene.rounds < 40
    assert len(scene.asking.asked) < 20 * NUMBER


def test_an_alias_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    members = ",".join(f"m{number}@example.com" for number in range(300))
    scene = both(
        monkeypatch,
        b"To: a@example.com\r\n",
        "list@example.com",
        virtual_alias_maps=f"inline:{{ {{list@example.com={members}}}, m7@example.com=seven@example.com }}",
    )
    assert scene.rounds < 30


def test_a_header_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = b",\r\n ".join(b"a%d@example.com" % number for number in range(200))
    scene = both(
        monkeypatch,
        b"To: " + addresses + b"\r\nCc: a7@example.com\r\n",
        "a@example.com",
        canonical_maps="inline:{a7@example.com=seven@example.com}",
        masquerade_domains="example.com",
        masquerade_exceptions="inline:{root=x}",
    )
    assert scene.rounds < 30


def test_a_table_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = both(monkeypatch, b"", "a@example.com", "b@example.com", virtual_alias_maps="fail:x")
    assert scene.rounds < 10
