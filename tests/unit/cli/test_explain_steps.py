"""explain of a message that was recorded: what tables made of its addresses then, by which lines, and what they would
make of them now."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.cli import explain, postalias, postmap
from postwarden.config.settings import load
from postwarden.config.view import view
from postwarden.content.prepare import Prepared, Preparer
from postwarden.mail.decision import BUILT_IN, Origin, Rule
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.remade import Remade
from postwarden.tables.opening import Tables
from postwarden.testing.clock import VirtualClock
from postwarden.trace import files
from postwarden.trace.recorder import Recorder

QUEUE_ID = "4XyZbC1234z"
MAIN_CF = """\
compatibility_level = 3.6
myhostname = mx.here.example
mydestination = here.example, $myhostname
queue_directory = {base}
alias_maps = hash:{base}/aliases
virtual_alias_maps = texthash:{base}/virtual
canonical_maps = hash:{base}/canonical
transport_maps = hash:{base}/transport
"""
MASTER_CF = """\
smtp inet n - n - - smtpd
smtp unix - - n - - smtp
local unix - n n - - local
cleanup unix n - n - 0 cleanup
"""


class Desk:
    def __init__(self, base: Path) -> None:
        self.base = base
        (base / "master.cf").write_text(MASTER_CF)
        (base / "main.cf").write_text(MAIN_CF.format(base=base))
        self.write("aliases", "# nobody\nteam: ann, bob\n")
        self.write("virtual", "sales@here.example team@here.example, joe@far.example\n")
        self.write("canonical", "# old names\nann@old.example ann@here.example\n")
        self.write("transport", "far.example smtp:[relay.example]\n")
        (base / "postwarden").mkdir()
        self._recorder = Recorder(files.directory(str(base / "postwarden")), "receiver1", VirtualClock(), print)

    def write(self, name: str, text: str) -> None:
        (self.base / name).write_text(text)
        if name != "virtual":
            command = postalias if name == "aliases" else postmap
            assert command.main("postmap", ["-c", str(self.base), f"hash:{self.base}/{name}"]) == 0

    def record(self, sender: str, *recipients: str, later: tuple[Remade, ...] = ()) -> None:
        settings = load(str(self.base))
        tables = Tables.of(settings)
        addressing = Rewriter(view(RewriteParams, settings))
        addressing.by_name_alone = open_resolver(settings, tables).by_name_alone  # type: ignore[attr-defined]
        prepare = Preparer(settings, "", tables, addressing, lambda event: None)  # type: ignore[arg-type]
        envelope = Envelope(QUEUE_ID, 1.0, sender, tuple(map(Recipient, recipients)), 99)
        prepared = prepare(envelope, b"From: x@y.example\r\n\r\n", local=True)
        assert isinstance(prepared, Prepared)
        self._recorder.stored(replace(prepared.envelope, size=99), remade=prepared.remade)
        self._recorder.remade(QUEUE_ID, later)
        self._recorder.flush()

    def told(self) -> list[str]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert explain.main("explain", [str(self.base), "--offline", QUEUE_ID]) == 0
        return [line.strip() for line in out.getvalue().splitlines()]

    def now(self) -> list[dict[str, Any] | None]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert explain.main("explain", [str(self.base), "--offline", "-j", QUEUE_ID]) == 0
        return [one["now"] for one in json.loads(out.getvalue())["records"] if one["kind"] == "mapped"]

    def why(self, says: str) -> list[str]:
        """What stands below the step."""
        lines = self.told()
        at = next(number for number, line in enumerate(lines) if line.endswith(says))
        return [
            line for line in lines[at + 1 : at + 3] if line.startswith(("hash:", "texthash:", "myorigin", "as the"))
        ]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_each_step_has_its_line(desk: Desk) -> None:
    base = desk.base
    desk.record("ann@old.example", "sales@here.example", "x")
    assert desk.why("sender ann@old.example became ann@here.example, by canonical_maps") == [
        f"hash:{base}/canonical has ann@old.example ({base}/canonical:2)"
    ]
    assert desk.why(
        "recipient sales@here.example became team@here.example, joe@far.example, by virtual_alias_maps"
    ) == [f"texthash:{base}/virtual has sales@here.example ({base}/virtual:1)"]
    assert desk.why("recipient x became x@mx.here.example, by append_at_myorigin") == [
        "myorigin = mx.here.example (its default)"
    ]
    # What was recorded is told; nothing is worked out again.
    assert not any(line.startswith("as the configuration") for line in desk.told())


def test_a_line_that_was_changed_since_is_said(desk: Desk) -> None:
    base = desk.base
    desk.record("ann@old.example", "sales@here.example")
    desk.write("canonical", "ann@old.example other@here.example\n")
    desk.write("virtual", "# moved\n\nsales@here.example team@here.example, joe@far.example\n")
    assert desk.why("sender ann@old.example became ann@here.example, by canonical_maps") == [
        f"hash:{base}/canonical has ann@old.example",
        "as the configuration is now: other@here.example, by "
        f"hash:{base}/canonical has ann@old.example ({base}/canonical:1)",
    ]
    virtual = "recipient sales@here.example became team@here.example, joe@far.example, by virtual_alias_maps"
    assert desk.why(virtual) == [
        f"texthash:{base}/virtual has sales@here.example ({base}/virtual:1)",
        f"as the configuration is now: texthash:{base}/virtual has sales@here.example ({base}/virtual:3)",
    ]
    assert desk.now()[0] == {
        "after": ["other@here.example"],
        "by": f"hash:{base}/canonical has ann@old.example ({base}/canonical:1)",
        "fault": "",
    }
    desk.write("virtual", "")
    assert desk.why(virtual)[1:] == ["as the configuration is now: nothing is done"]


def test_what_deliverers_told(desk: Desk) -> None:
    base = desk.base
    table = f"hash:{base}/aliases"
    by_transport = Rule(f"hash:{base}/transport", "far.example", Origin(f"{base}/main.cf", 8, ""))
    forward = Origin("/home/ann/.forward", 0, "")
    desk.record(
        "s@x.example", "team@here.example",
        later=(
            Remade("transport_maps", "joe@far.example", ("smtp:[relay.example]",), by_transport),
            Remade("alias_maps", "team", ("ann", "bob"), Rule(table, "team", BUILT_IN)),
            Remade(".forward", "ann", ("ann@far.example",), Rule(forward.file, "", forward)),
        ),
    )  # fmt: skip
    assert desk.why("alias team became ann, bob, by alias_maps") == [f"{table} has team ({base}/aliases:2)"]
    assert desk.why("mail for joe@far.example was given to smtp:[relay.example], by transport_maps") == [
        f"hash:{base}/transport has far.example ({base}/transport:1)"
    ]
    assert "the .forward file of ann says ann@far.example, by .forward" in desk.told()[-2]
    assert desk.told()[-1] == "/home/ann/.forward"
    desk.write("aliases", "team: ann\n")
    desk.write("transport", "")
    assert desk.why("alias team became ann, bob, by alias_maps")[1:] == [
        f"as the configuration is now: ann, by {table} has team ({base}/aliases:1)"
    ]
    (now,) = desk.why("mail for joe@far.example was given to smtp:[relay.example], by transport_maps")[1:]
    assert now.startswith("as the configuration is now: smtp:far.example")


def test_a_table_that_can_not_be_asked_now(desk: Desk) -> None:
    desk.record("ann@old.example", "x@here.example")
    for name in ("canonical", "canonical.lmdb"):
        (desk.base / name).unlink()
    lines = desk.told()
    assert any(line.startswith("what it would be now can't be said: hash:") for line in lines)


def test_a_step_that_was_taken_in_each_attempt_is_told_once(desk: Desk) -> None:
    step = Remade("transport_maps", "joe@far.example", ("smtp:[relay.example]",), Rule("static:x", "joe", BUILT_IN))
    desk.record("s@x.example", "joe@far.example", later=(step, step))
    assert sum("was given to" in line for line in desk.told()) == 1
