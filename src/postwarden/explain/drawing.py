"""The tree in a terminal."""

from collections.abc import Iterator

from postwarden.explain.tree import Node
from postwarden.mail.events import printable

_LINES = ("├── ", "└── ", "│   ", "    ")
_PLAIN = ("|-- ", "`-- ", "|   ", "    ")


def drawn(root: Node, *, plain: bool = False) -> Iterator[str]:
    """One line a node. `plain`: for a terminal that has no line characters."""
    marks = _PLAIN if plain else _LINES
    yield described(root)
    yield from _below(root, "", marks)


def _below(node: Node, indent: str, marks: tuple[str, str, str, str]) -> Iterator[str]:
    for place, child in enumerate(node.children):
        last = place == len(node.children) - 1
        yield f"{indent}{marks[1] if last else marks[0]}{described(child)}"
        yield from _below(child, indent + (marks[3] if last else marks[2]), marks)


def described(node: Node) -> str:
    """A node in a line."""
    text = node.text or "<>"
    if node.place or node.how:
        text += f"  [{' '.join(part for part in (node.how, node.place) if part)}]"
    if node.end is not None:
        text += f"  => {node.end.text}"
    if node.end is not None and not node.end.inside:
        text += ", outside the organization"
    if node.note:
        text += f"  ({node.note})"
    return printable(text)
