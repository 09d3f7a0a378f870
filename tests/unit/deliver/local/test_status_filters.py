"""local_, virtual_ and pipe_delivery_status_filter: what mailboxes and programs say, changed before it is logged."""

import os
from pathlib import Path

import pytest
from msgspec import structs

from postwarden.config.view import view
from postwarden.deliver.local.params import VirtualParams
from postwarden.deliver.local.ports import Account
from postwarden.deliver.local.virtual import virtual_deliverer
from postwarden.deliver.pipe.deliverer import pipe_deliverer
from postwarden.deliver.status_filter import StatusFilter
from postwarden.ipc.records import Job, Outcome
from postwarden.mail.envelope import Recipient
from postwarden.mail.events import Event, Warn
from postwarden.mail.status import Status
from postwarden.roles.agent_worker import Worker
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.local import LocalMachine

RULES = r"regexp:{{/^2\S+ delivered to (maildir|via).*/ 2.1.9 put away} {/^2.* via.*/ 5.0.0 refused} {/^5(.*)/ 4$1}}"
"""As of main.cf after its expansion."""


def job(transport: str, address: str) -> Job:
    return Job(1, transport, "v.example", "QID", 0, 0, "s@x", (Recipient(address),), 0, b"A: b\r\n\r\n", b"")


class World:
    def __init__(self, master_cf: str, **parameters: str) -> None:
        self.machine = LocalMachine(Account("alice", 1000, 1000, "/home/alice"))
        self.settings = settings("", master_cf, **parameters)
        self.tables = Tables.of(self.settings)
        self.around = structs.replace(
            self.machine.surroundings,
            status_filter=StatusFilter(
                self.tables.maps((RULES,)), lambda text: self.machine.logged.append(Warn(text)), name="the filter"
            ),
        )


def virtual(base: Path, **parameters: str) -> tuple[World, Outcome, Outcome]:
    uid, gid = os.geteuid(), os.getegid() or 5
    given = {
        "virtual_mailbox_base": str(base), "virtual_mailbox_maps": "inline:{ann@v.example=ann/}",
        "virtual_uid_maps": f"static:{uid}", "virtual_gid_maps": f"static:{gid}", "virtual_minimum_uid": "0",
    }  # fmt: skip
    world = World("virtual unix - n n - - virtual\n", **(given | parameters))
    params = view(VirtualParams, world.settings, "virtual/unix")
    names = (params.virtual_mailbox_maps, params.virtual_uid_maps, params.virtual_gid_maps)
    maps = tuple(world.tables.maps(name) for name in names)
    made = virtual_deliverer(world.settings, "virtual/unix", params, world.around, maps)  # type: ignore[arg-type]
    found = made.deliver(job("virtual", "ann@v.example"), b"hello\r\n", lambda forward: None)
    missing = made.deliver(job("virtual", "bob@v.example"), b"hello\r\n", lambda forward: None)
    return world, found, missing


def test_what_virtual_says_is_changed_in_the_log_too(tmp_path: Path) -> None:
    world, found, missing = virtual(tmp_path)
    assert (found.results[0].code, found.results[0].text) == ("2.1.9", "put away")
    assert world.machine.log[0].endswith("dsn=2.1.9, status=sent (put away)")
    assert (missing.results[0].code, missing.results[0].text) == ("4.1.1", 'unknown user: "bob@v.example"')


def test_soft_bounce_comes_after_it(tmp_path: Path) -> None:
    _, _, missing = virtual(tmp_path, soft_bounce="yes")
    assert (missing.results[0].code, missing.results[0].soft) == ("4.1.1", False)


def test_a_success_stays_one() -> None:
    """smtp(8)'s words, found beside the real pipe(8)."""
    world = World("prog unix - n n - - pipe user=alice argv=/bin/true\n")
    made = pipe_deliverer(world.settings, world.settings.services[0], world.around)
    outcome = made.deliver(job("prog", "a@v.example"), b"x\r\n", lambda forward: None)
    assert outcome.results[0].code == "2.0.0"
    assert "warning: the filter: bad status code: 5.0.0 refused" in world.machine.log


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def emit(self, program: str, event: Event, name: str = "") -> None:
        self.lines.append(f"{program}: {event}")


@pytest.mark.parametrize(
    ("name", "service", "filtered"),
    [
        ("default_delivery_status_filter", "virtual", True),
        ("virtual_delivery_status_filter", "virtual", True),
        ("local_delivery_status_filter", "virtual", False),
        ("default_delivery_status_filter", "local", True),
        ("local_delivery_status_filter", "local", True),
        ("pipe_delivery_status_filter", "prog", True),
    ],
)
def test_each_transport_has_its_own_filter(name: str, service: str, filtered: bool) -> None:
    master_cf = "virtual unix - n n - - virtual\nlocal unix - n n - - local\nprog unix - n n - - pipe user=x argv=y\n"
    config = settings("", master_cf, alias_maps="", mail_owner="nobody", **{name: "static:{4.0.0 later}"})
    found = next(one for one in config.services if one.name == service)
    worker = Worker.__new__(Worker)
    worker._tables, worker._log = Tables.of(config), Lines()  # type: ignore[assignment]
    made = worker._status_filter(config, found)
    assert (made is not None) is filtered
    if made is not None:
        later = made(Status("5.1.1", "no"))
        assert (later.code, later.text) == ("4.0.0", "later")
        assert later.cause == f"{found.command}_delivery_status_filter"
        assert made(Status("2.0.0", "yes")) == Status("2.0.0", "yes")
        assert worker._log.lines[0].endswith(f": {found.command}_delivery_status_filter: bad status code: 4.0.0 later")
