"""Directories of tests: their own for each run, and open to the users that the gateway's roles become."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.passable import passable

# How long an example takes is the machine's affair: a loaded one must not decide whether a property holds.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """pytest keeps its usual directory closed to others, and closes it again whenever another run begins."""
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        # Short: a Unix socket's address, as that of Postfix's log, has 107 characters.
        config.option.basetemp = tempfile.mkdtemp(prefix="pw-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


@pytest.fixture(scope="session", autouse=True)
def _open_directories(tmp_path_factory: pytest.TempPathFactory) -> None:
    passable(tmp_path_factory.getbasetemp())


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Open to others, who are the roles of a gateway that root started."""
    tmp_path.chmod(0o755)
    return tmp_path
