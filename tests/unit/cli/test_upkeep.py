import os
import pwd
import stat
from pathlib import Path

import pytest

from postwarden.cli import upkeep

OWNER = "mail" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text(
        f"queue_directory = {tmp_path}/queue\ndata_directory = {tmp_path}/data\nmail_owner = {OWNER}\n"
        f"maillog_file = {tmp_path}/log\n"
    )
    return tmp_path


@pytest.mark.parametrize("command", ["set-permissions", "upgrade-configuration"])
def test_what_is_missing_is_made_and_what_is_wrong_is_mended(etc: Path, command: str) -> None:
    if os.geteuid() != 0 and command == "set-permissions":
        pytest.skip("needs root")
    main_cf = (etc / "main.cf").read_text()
    assert upkeep.main(command, [str(etc)]) == 0
    spool = etc / "queue" / "postwarden"
    (spool / "maildrop").chmod(0o777)
    spool.chmod(0o777)
    assert upkeep.main(command, [str(etc)]) == 0
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (spool, spool / "public", spool / "maildrop")]
    assert modes == [0o711, 0o755, 0o1733]
    assert (etc / "main.cf").read_text() == main_cf


def test_a_parameter_for_this_command_alone(etc: Path) -> None:
    assert upkeep.main("upgrade-configuration", [str(etc), f"queue_directory={etc}/other"]) == 0
    assert (etc / "other" / "postwarden").exists()
    assert not (etc / "queue").exists()


def test_misuse(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert upkeep.main("set-permissions", [str(etc), "foo"]) == 1
    assert "usage: postfix set-permissions [name=value ...]" in capsys.readouterr().err
    (etc / "main.cf").write_text("= x\n")
    assert upkeep.main("set-permissions", [str(etc)]) == 1


def test_a_place_that_can_not_be(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (etc / "queue").write_text("")
    assert upkeep.main("upgrade-configuration", [str(etc)]) == 1
    assert "queue_directory or data_directory: " in capsys.readouterr().err
