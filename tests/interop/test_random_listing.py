"""Random configurations: who is told at the door that an address does not exist, as smtpd(8) says it."""

import pytest
from tests.interop.test_policy import BASE, FAR, Session, Theirs, our_replies
from tests.interop.test_random_routing import _NAMES, _PLACES, _SENDERS_TRANSPORTS
from tests.interop.test_random_routing import Draw as Routing
from tests.rewrite_service import Judges, needs_postfix

from postwarden.addressing.resolve import open_resolver
from postwarden.policy.judge import Judge
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

pytestmark = [needs_postfix, pytest.mark.postfix]

_VALUES = "x@far.example"
_LISTS = (
    "local_recipient_maps", "virtual_mailbox_maps", "relay_recipient_maps", "virtual_alias_maps", "canonical_maps",
    "sender_canonical_maps", "recipient_canonical_maps",
)  # fmt: skip


class Draw(Routing):
    def _settings(self) -> dict[str, str]:
        chosen = super()._settings() | {name: self._table(self._keys(), _VALUES) for name in _LISTS}
        chosen["sender_dependent_default_transport_maps"] = self._table(
            self._keys(), _SENDERS_TRANSPORTS.replace(":hop", "slow")
        )
        for name in ("local", "virtual_alias", "virtual_mailbox", "relay"):
            if self._chance(0.2):
                part = "_recipient" if name in ("local", "relay") else ""
                chosen[f"unknown_{name}{part}_reject_code"] = self.random.choice(["450", "554"])
        return BASE | chosen | {
            "smtpd_relay_restrictions": "check_client_access static:OK, reject",
            "smtpd_recipient_restrictions": self.random.choice(["reject_unlisted_recipient, permit", "permit"]),
            "smtpd_reject_unlisted_sender": self.random.choice(["yes", "no"]),
            "smtpd_reject_unlisted_recipient": self.random.choice(["yes", "yes", "no"]),
        }  # fmt: skip

    def session(self) -> Session:
        sender = self._plain() if self.random.random() < 0.9 else ""
        return Session(FAR, "mail.far.example", sender, tuple(self._plain() for _ in range(6)))

    def _plain(self) -> str:
        """In good syntax, and without what only SMTPUTF8 allows."""
        name = self.random.choice([name for name in _NAMES if name.isascii()])
        if self.random.random() < 0.1:
            return name
        place = self.random.choice([place for place in _PLACES if place.isascii()])
        return f"{name}@{place}"


def wrong(seed: int, sessions: int) -> list[object]:
    draw = Draw(seed)
    ours = settings("", **draw.settings)
    tables = Tables.of(ours)
    judge = Judge(ours, "", tables, open_resolver(ours, tables))
    found: list[object] = []
    with Judges(**draw.settings) as judges:
        theirs = Theirs(judges)
        for _ in range(sessions):
            session = draw.session()
            they, we = list(theirs.replies(session)), list(our_replies(judge, session))
            if they != we:
                found.append((session.sender, session.recipients, they, we))
        theirs.close()
    return [draw.settings, *found] if found else []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_sessions(seed: int) -> None:
    assert not wrong(seed, 40)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1030))
def test_more_random_sessions(seed: int) -> None:
    assert not wrong(seed, 60)
