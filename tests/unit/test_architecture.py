"""The rules of the tree, checked: who may import whom, and how long files and functions may be."""

import ast
import re
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "postwarden"
STAGES = {"receive", "policy", "content", "spool", "schedule", "routing", "deliver", "bounce", "verify"}
ORDER = [
    {"mail"}, {"wire"}, {"net", "ipc"}, {"config"}, {"tables"}, {"addressing"}, STAGES,
    {"trace", "explain", "federation"}, {"inside"}, {"pipeline"}, {"rehearsal"}, {"roles"}, {"cli"},
]  # fmt: skip
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
EFFECTS = {"asyncio", "ssl", "socket", "subprocess", "threading"}
MAY_HAVE_EFFECTS = ("net/", "ipc/", "roles/", "spool/writer", "tables/remote", "cli/", "testing/")
# `mail` and `wire` may import the standard library, and one foreign package.
PURE, FOREIGN = {"mail", "wire"}, {"msgspec", "postwarden"}

FILES = sorted(SRC.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{alias.name}" if node.module == "postwarden" else node.module for alias in node.names
            }
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_follow_the_order(path: Path) -> None:
    name = name_of(path)
    package = name.split("/")[0].removesuffix(".py")
    if package not in RANK:
        return
    for module in imports(ast.parse(path.read_text())):
        top = module.split(".")[0]
        if package in PURE:
            assert top in sys.stdlib_module_names or top in FOREIGN, f"{name} imports {module}"
        if top == "postwarden":
            other = module.split(".")[1] if "." in module else ""
            if other == package or other not in RANK:
                continue
            assert RANK[other] <= RANK[package], f"{name} imports {module}"
            assert not (package in STAGES and other in STAGES), f"{name}: a stage imports {module}"
        elif top in EFFECTS:
            assert name.startswith(MAY_HAVE_EFFECTS), f"{name} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_size(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500, f"{name_of(path)} has more than 500 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{name_of(path)}:{node.lineno} {node.name} has {length} lines"
            positional = [*node.args.posonlyargs, *node.args.args]
            count = len([a for a in positional if a.arg not in ("self", "cls")])
            assert count <= 6, f"{name_of(path)}:{node.lineno} {node.name} takes {count} positional parameters"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_module_level_mutable_state(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Global):
            pytest.fail(f"{name_of(path)}:{node.lineno} global")
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List | ast.Set):
            pytest.fail(f"{name_of(path)}:{node.lineno} a module-level list or set can be changed: use a tuple")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_group_is_repeated_possessively(path: Path) -> None:
    """Python up to 3.11.4, which Debian 12 has, loses its place in one whose last round fails half-way."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes | str):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            found = re.search(r"(?<![\\(])\)(?:[*+?]|\{[\d,]+\})\+|\(\?>", text)
            assert found is None, f"{name_of(path)}:{node.lineno} {found[0]}"
