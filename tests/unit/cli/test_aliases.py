"""`postwarden aliases`: what it prints, and its exit codes."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from postwarden.cli import aliases
from postwarden.cli.main import COMMANDS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text(
        f"compatibility_level = 3.6\nmyhostname = mx.example.com\nalias_maps = hash:{tmp_path}/aliases.merged\n"
        "relay_domains = plant.example\n"
    )
    (tmp_path / "alias-sources.cf").write_text(
        f"sources = plant, lab\nplant.push = {tmp_path}/plant\nplant.names = plant-*\nplant.hosts = plant.example\n"
        f"lab.push = {tmp_path}/lab\nlab.names = lab\nsize_limit = 4096\n"
    )
    lay_down(tmp_path, "plant", "plant-1: joe@plant.example\nplant-2: ann@plant.example\n")
    lay_down(tmp_path, "lab", "lab: root\n")
    return tmp_path


def lay_down(base: Path, name: str, text: str) -> None:
    (base / name).write_text(text)
    os.utime(base / name, (1_000_000_000, 1_000_000_000))


@pytest.fixture
def run(site: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = aliases.main("aliases", [str(site), *words])
        said = capsys.readouterr()
        return code, said.out.replace(str(site), ""), said.err.replace(str(site), "")

    return run


def test_it_is_a_command() -> None:
    assert COMMANDS["aliases"] == "aliases"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "nothing: no such command"),
        (["merge", "-x"], "merge: unknown option -x"),
        (["merge", "-j"], "merge: unknown option -j"),
        (["merge", "-m"], "-m needs a text"),
        (["merge", "x"], "merge: too many words"),
        (["put"], "put: which source?"),
        (["confirm"], "confirm: which source?"),
        (["graph"], "graph: which address?"),
        (["rollback", "plant", "x"], "x is no version"),
    ],
)
def test_misuse_is_told_with_the_usage(run: Run, words: list[str], said: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith("postwarden aliases: ") and said in err
    assert "usage: postwarden aliases COMMAND" in err


def test_help(run: Run) -> None:
    assert run("--help")[0] == 0
    assert run()[0] == 1


def test_a_merge_prints_its_plan_and_the_same_again_prints_nothing(run: Run) -> None:
    plan = (
        "+ lab: root  (lab)\n+ plant-1: joe@plant.example  (plant)\n+ plant-2: ann@plant.example  (plant)\n"
        "3 entries, 3 changed; "
    )
    assert run("merge", "-n") == (0, plan + "nothing was changed\n", "")
    assert run("merge") == (0, plan + "install 1 is in hash:/aliases.merged\n", "")
    assert run("merge", "--dry-run") == (0, "3 entries, 0 changed; nothing was changed\n", "")
    assert run("merge") == (0, "3 entries, 0 changed; nothing is new\n", "")


def test_changes_are_a_diff_and_errors_an_exit_code(run: Run, site: Path) -> None:
    run("merge")
    lay_down(site, "plant", "plant-1: new@plant.example\nplant-2: ann@plant.example\nroot: x@plant.example\n")
    code, out, err = run("merge", "-m", "why not")
    assert code == 2
    assert out == (
        "- plant-1: joe@plant.example  (plant)\n+ plant-1: new@plant.example  (plant)\n"
        "3 entries, 1 changed; install 2 is in hash:/aliases.merged\n"
    )
    assert err == "plant:/plant:3: error: left out: root: plant may not define this name\n"
    assert "(why not)" in run("history")[1]


def test_status(run: Run, site: Path) -> None:
    code, out, _ = run("status")
    assert code == 2
    assert out.count("awaited") == 2
    run("merge")
    code, out, _ = run("status")
    assert (code, out.count("current")) == (0, 2)
    lay_down(site, "plant", "plant-1: joe@plant.example\n")
    run("merge")
    code, out, _ = run("status", "-j")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert [(one["source"], one["state"], one["version"], one["held"]) for one in lines] == [
        ("plant", "held", 1, 2), ("lab", "current", 1, 0),
    ]  # fmt: skip
    assert "1 of 2 names would go" in run("status")[1]
    assert run("confirm", "-m", "it closed", "plant")[0] == 0
    assert run("status")[0] == 0


def test_history_and_rollback(run: Run, site: Path) -> None:
    run("merge")
    lay_down(site, "lab", "lab: nobody\n")
    run("merge")
    code, out, _ = run("rollback", "-m", "typing error", "lab")
    assert code == 0
    assert out.startswith("- lab: nobody  (lab)\n+ lab: root  (lab)\n")
    events = [json.loads(line) for line in run("history", "-j", "lab")[1].splitlines()]
    assert [e["what"] for e in events] == ["arrived", "installed", "arrived", "installed", "rolled back", "installed"]
    assert events[4]["why"] == "typing error"
    code, _, err = run("rollback", "lab", "9")
    assert (code, err) == (1, "postwarden aliases: fatal: lab: there is no version 9\n")
    assert run("rollback", "1")[0] == 0
    assert run("rollback", "7")[0] == 1


def put(run: Run, monkeypatch: pytest.MonkeyPatch, source: str, data: bytes) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    return run("put", source)


def test_put(run: Run, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CLIENT", "192.0.2.9 4711 22")
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "rm -rf /")
    code, _, err = put(run, monkeypatch, "lab", b"lab: joe\n")
    assert (code, err) == (0, "lab: 1 entries taken; the next merge judges them\n")
    assert (site / "lab").read_text() == "lab: joe\n"
    os.utime(site / "lab", (1_000_000_000, 1_000_000_000))
    run("merge")
    assert "from 192.0.2.9" in run("history", "lab")[1]


@pytest.mark.parametrize(
    ("source", "data", "said"),
    [
        ("lab", b"", "empty"),
        ("lab", b"lab: jo", "ends within a line"),
        ("lab", b"lab joe\n", 'standard input:1: no ":" behind the name'),
        ("lab", b"\xff\xfe\n", "not UTF-8"),
        ("nobody", b"lab: joe\n", "there is no such source"),
        ("../lab", b"lab: joe\n", "there is no such source"),
        ("lab", b"#" * 5000, "larger than"),
    ],
)
def test_put_refuses(
    run: Run, site: Path, monkeypatch: pytest.MonkeyPatch, source: str, data: bytes, said: str
) -> None:
    code, _, err = put(run, monkeypatch, source, data)
    assert code == 1
    assert said in err
    assert (site / "lab").read_text() == "lab: root\n"


def test_put_to_a_source_that_is_fetched(run: Run, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "alias-sources.cf").write_text(
        f"sources = far\nfar.pull = sftp://u@h.example/a\nfar.key = /k\nfar.host_key = {KEY}\n"
    )
    code, _, err = put(run, monkeypatch, "far", b"far: joe\n")
    assert code == 1
    assert "is fetched from sftp://u@h.example/a" in err


def test_sources_with_what_ssh_needs(run: Run, site: Path) -> None:
    code, out, _ = run("sources", "-v")
    assert code == 0
    assert "plant\n  push       /plant\n  names      plant-*\n" in out
    assert 'aliases put plant" <public key of plant>' in out
    assert "restrict,command=" in out
    (site / "alias-sources.cf").write_text(
        f"sources = far\nfar.pull = sftp://u@h.example/a\nfar.key = /k\nfar.host_key = {KEY}\n"
    )
    assert "ssh-ed25519 SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA" in run("sources", "-v")[1]


def test_graph_and_lint(run: Run, site: Path) -> None:
    run("merge")
    assert run("graph", "plant-1")[1].endswith("=> relay to plant.example, TLS not required\n")
    assert run("graph", "--svg", "plant-1")[1].startswith("<svg ")
    code, out, _ = run("lint")
    assert code == 2
    assert "there is no alias abuse" in out
    code, out, _ = run("lint", "-j", str(site / "lab"))
    assert code == 2
    assert {json.loads(line)["file"] for line in out.splitlines()} == {"/lab"}


def test_without_a_sources_file(run: Run, site: Path) -> None:
    (site / "alias-sources.cf").unlink()
    code, _, err = run("merge")
    assert code == 1
    assert "no such file: it names the sources of aliases" in err
    assert run("graph", "lab")[0] == 0
