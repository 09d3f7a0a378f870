"""The tree as a picture: one SVG file that needs nothing else, to be sent or printed."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from postwarden.explain.ends import COMMAND, DISCARDED, FILE, MAILBOX, NOWHERE, REFUSED, RELAY
from postwarden.explain.tree import Node
from postwarden.mail.events import printable

_ROW, _INDENT, _HEIGHT, _MARGIN = 44, 40, 34, 16
_FILL = {
    MAILBOX: "#e3f4e3", FILE: "#e3f4e3", COMMAND: "#fdf3d8", RELAY: "#e2ecfb", REFUSED: "#fbe3e1",
    NOWHERE: "#fbe3e1", DISCARDED: "#fbe3e1",
}  # fmt: skip
_STYLE = (
    "text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#222}.s{font-size:10.5px;fill:#555}"
    "rect{stroke:#7a7a7a}path{fill:none;stroke:#9a9a9a}.x rect{stroke:#b3261e;stroke-width:2}"
)


class _Box:
    def __init__(self, node: Node, depth: int) -> None:
        self.node = node
        self.depth = depth
        self.title, self.small = _texts(node)
        self.width = max(len(self.title) * 7.9, len(self.small) * 6.4) + 20
        self.row = 0
        self.parent: _Box | None = None


def picture(root: Node) -> str:
    """The SVG text."""
    boxes = _laid_out(root)
    width = max(_left(box) + box.width for box in boxes) + _MARGIN
    height = _MARGIN * 2 + _ROW * len(boxes)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" role="img">',
        f"<title>{escape(_clean(root.text))}</title><style>{_STYLE}</style>",
        f'<rect width="{width:.0f}" height="{height}" style="fill:#fff;stroke:none"/>',
    ]
    for box in boxes:
        lines += _drawn(box)
    return "\n".join([*lines, "</svg>", ""])


def _laid_out(root: Node) -> list[_Box]:
    """A row for each node, in the order of the terminal's tree."""
    boxes: list[_Box] = []
    waiting: list[tuple[Node, int, _Box | None]] = [(root, 0, None)]
    while waiting:
        node, depth, parent = waiting.pop()
        box = _Box(node, depth)
        box.row, box.parent = len(boxes), parent
        boxes.append(box)
        waiting += [(child, depth + 1, box) for child in reversed(node.children)]
    return boxes


def _left(box: _Box) -> int:
    return _MARGIN + box.depth * _INDENT


def _drawn(box: _Box) -> Iterator[str]:
    left, top = _left(box), _MARGIN + box.row * _ROW
    if box.parent is not None:
        x = _left(box.parent) + 14
        bottom = _MARGIN + box.parent.row * _ROW + _HEIGHT
        yield f'<path d="M{x:.0f} {bottom}V{top + _HEIGHT / 2:.0f}H{left:.0f}"/>'
    end = box.node.end
    warned = end is not None and (end.clear or not end.inside)
    fill = _FILL.get(end.kind, "#fff") if end is not None else "#fbe3e1" if box.node.note else "#f6f6f6"
    yield '<g class="x">' if warned else "<g>"
    yield f'<rect x="{left:.0f}" y="{top}" width="{box.width:.0f}" height="{_HEIGHT}" rx="4" style="fill:{fill}"/>'
    middle = top + (14 if box.small else 21)
    yield f'<text x="{left + 10:.0f}" y="{middle}">{escape(box.title)}</text>'
    if box.small:
        yield f'<text class="s" x="{left + 10:.0f}" y="{top + 28}">{escape(box.small)}</text>'
    yield "</g>"


def _texts(node: Node) -> tuple[str, str]:
    small = " ".join(part for part in (node.how, node.place) if part)
    if node.end is not None:
        outside = "" if node.end.inside else ", outside the organization"
        small += f"{' ' if small else ''}=> {node.end.text}{outside}"
    if node.note:
        small += f"{' ' if small else ''}({node.note})"
    return _clean(node.text or "<>"), _clean(small)


def _clean(text: str) -> str:
    """XML 1.0 2.2: other control characters can't even be written as references."""
    return printable(text)
