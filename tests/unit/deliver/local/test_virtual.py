import os
from pathlib import Path

import pytest

from postwarden.config.view import view
from postwarden.deliver.local.params import VirtualParams
from postwarden.deliver.local.virtual import virtual_deliverer
from postwarden.ipc.records import Forward, Job
from postwarden.mail.envelope import Recipient
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.local import LocalMachine

ME, GROUP = os.geteuid(), os.getegid()
MAPS = "inline:{ {ann@v.example=ann/} {bob@v.example=sub/bob} {gone@v.example=../file/x} {@all.example=all} }"


class World:
    def __init__(self, base: Path, **parameters: str) -> None:
        self.base = base / "mail"
        self.base.mkdir()
        (base / "file").touch()
        self.machine = LocalMachine()
        given = {
            "virtual_mailbox_base": str(self.base),
            "virtual_mailbox_maps": MAPS,
            "virtual_uid_maps": f"static:{ME}",
            "virtual_gid_maps": f"static:{GROUP or 5}",
            "virtual_minimum_uid": "0",
            "recipient_delimiter": "+",
            "deliver_lock_attempts": "1",
        }
        self.settings = settings(**(given | parameters))
        tables = Tables.of(self.settings)
        params = view(VirtualParams, self.settings, "virtual/unix")
        maps = (
            tables.maps(params.virtual_mailbox_maps),
            tables.maps(params.virtual_uid_maps),
            tables.maps(params.virtual_gid_maps),
        )
        around = self.machine.surroundings
        self.deliverer = virtual_deliverer(self.settings, "virtual/unix", params, around, maps)

    def one(self, address: str, head: bytes = b"A: b\r\n\r\n") -> tuple[str, str]:
        forwards: list[Forward] = []
        job = Job(1, "virtual", "v.example", "QID", 0, 0, "s@x", (Recipient(address),), 0, head, b"")
        outcome = self.deliverer.deliver(job, b"hello\r\n", forwards.append)
        assert not forwards
        (status,) = outcome.results
        assert status.relay == "virtual"
        return status.code, status.text


def test_a_maildir(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.one("Ann@v.example") == ("2.0.0", "delivered to maildir")
    (name,) = os.listdir(world.base / "ann" / "new")
    assert (world.base / "ann" / "new" / name).read_text() == (
        "Return-Path: <s@x>\nX-Original-To: Ann@v.example\nDelivered-To: Ann@v.example\nA: b\n\nhello\n"
    )
    assert world.machine.identity.acted == [(ME, GROUP or 5)]


def test_a_mailbox(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.one("bob+list@v.example") == ("2.0.0", "delivered to mailbox")
    assert (world.base / "sub" / "bob").read_text().startswith("From s@x  ")
    assert world.one("anybody@all.example") == ("2.0.0", "delivered to mailbox")


def test_an_unknown_user(tmp_path: Path) -> None:
    assert World(tmp_path).one("No@v.example") == ("5.1.1", 'unknown user: "no@v.example"')


def test_a_loop(tmp_path: Path) -> None:
    code, text = World(tmp_path).one("ann@v.example", b"Delivered-To: ann@v.example\r\n\r\n")
    assert (code, text) == ("5.4.6", "mail forwarding loop for ann@v.example")


@pytest.mark.parametrize(
    ("parameters", "warning"),
    [
        ({"virtual_uid_maps": "static:99", "virtual_minimum_uid": "100"}, "bad uid 99 in virtual_uid_maps"),
        ({"virtual_uid_maps": "static:-1"}, "bad uid -1 in virtual_uid_maps"),
        ({"virtual_uid_maps": ""}, "not found in virtual_uid_maps"),
        ({"virtual_gid_maps": "static:0"}, "bad gid 0 in virtual_gid_maps"),
        ({"virtual_mailbox_base": ""}, "virtual_mailbox_base is empty"),
    ],
)
def test_whose_the_mailbox_is_must_be_said(tmp_path: Path, parameters: dict[str, str], warning: str) -> None:
    world = World(tmp_path, **parameters)
    assert world.one("ann@v.example") == ("4.3.5", "mail system configuration error")
    assert world.machine.log[0] == f"warning: recipient ann@v.example: {warning}"
    assert world.machine.identity.acted == []


def test_a_fault_waits_for_the_operator(tmp_path: Path) -> None:
    code, text = World(tmp_path).one("gone@v.example")
    assert code[0] == "4"
    assert text.endswith("Not a directory")


def test_a_mailbox_that_is_full_bounces(tmp_path: Path) -> None:
    world = World(tmp_path, virtual_mailbox_limit="10")
    assert world.one("bob@v.example")[0] == "5.2.2"


def test_a_table_that_can_not_answer(tmp_path: Path) -> None:
    world = World(tmp_path, virtual_mailbox_maps=f"hash:{tmp_path}/none")
    assert world.one("ann@v.example") == ("4.3.5", "table lookup error")


def test_a_user_that_we_may_not_be(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.machine.identity.forbidden.add(ME)
    assert world.one("bob@v.example")[0] == "4.3.5"
    assert world.one("ann@v.example")[0] == "4.3.5"


@pytest.mark.parametrize(
    ("address", "said"),
    [("ann@v.example", "delivers to maildir"), ("bob@v.example", "delivers to mailbox"), ("no@v.example", "unknown")],
)
def test_verification_writes_nothing(tmp_path: Path, address: str, said: str) -> None:
    world = World(tmp_path)
    job = Job(1, "virtual", "v.example", "QID", 0, 0, "s@x", (Recipient(address),), 0, b"\r\n", b"", trace="verify")
    (status,) = world.deliverer.deliver(job, b"hello\r\n", lambda _: None).results
    assert status.text.startswith(said)
    assert status.verified
    assert list(world.base.iterdir()) == []
