"""The table as a whole: its page, its stages, and the views that read it."""

import importlib
import pkgutil
import runpy
from pathlib import Path

import msgspec
import pytest

import postwarden
from postwarden.config.parameters import TABLE, Kind, Standing, stage, standing
from postwarden.config.parameters.stages import STAGES
from postwarden.config.tls import TlsLibraryParams
from postwarden.config.values import typed
from postwarden.config.view import check_view
from postwarden.testing.config import settings

ROOT = Path(__file__).parents[3]
FOLDERS = {path.name for path in (ROOT / "src" / "postwarden").iterdir() if path.is_dir()}


def test_the_page_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "parameters"))["page"]()
    assert (ROOT / "docs" / "parameters.md").read_text() == made, "run scripts/parameters > docs/parameters.md"


def readers() -> dict[str, set[str]]:
    """Which folders have a params.py that reads a parameter."""
    found: dict[str, set[str]] = {}
    for info in pkgutil.walk_packages(postwarden.__path__, "postwarden."):
        if info.name.rsplit(".", 1)[-1] == "params":
            for name, cls in vars(importlib.import_module(info.name)).items():
                if name.endswith("Params") and cls.__module__ == info.name:
                    for field in msgspec.structs.fields(cls):
                        found.setdefault(field.name, set()).add(info.name.split(".")[1])
    return found


def test_each_has_the_stage_that_reads_it() -> None:
    assert set(TABLE) >= set(STAGES)
    without_views = {"config", "roles", "addressing", "tables"}
    wrong = {
        name: (stage(name), folders)
        for name, folders in readers().items()
        if name in TABLE
        and standing(TABLE[name])[0] is Standing.WORKS
        and not set(stage(name).split(", ")) & (folders | without_views)
    }
    assert wrong == {}
    assert {part for name in TABLE for part in stage(name).split(", ")} <= FOLDERS


@pytest.mark.parametrize("name", sorted(TABLE))
def test_each_default_is_a_value_of_its_kind(name: str) -> None:
    """In the middle of all others, under stress too, and within its bounds."""
    parameter = TABLE[name]
    for config in (settings(), settings("compatibility_level = 0\n")):
        for stress in (False, True):
            if parameter.kind is not Kind.RAW:
                config.value(name, stress=stress)
    if parameter.kind in (Kind.INT, Kind.TIME) and "$" not in parameter.default:
        value = typed(parameter, parameter.default)
        assert isinstance(value, int) and value >= parameter.low
        assert not parameter.high or value <= parameter.high


def test_tls_of_both_sides_works() -> None:
    check_view(TlsLibraryParams)
    for field in msgspec.structs.fields(TlsLibraryParams):
        assert standing(TABLE[field.name])[0] is Standing.WORKS
