from xml.etree import ElementTree

from postwarden.explain.drawing import drawn
from postwarden.explain.ends import MAILBOX, RELAY, End
from postwarden.explain.svg import picture
from postwarden.explain.tree import Node

TREE = Node("root", children=[
    Node("<joe> & \x1b\"co\"", "alias_maps", "/a:1", [Node("x", end=End(MAILBOX, "mailbox /x"))]),
    Node("b@c.example", "alias_maps", "/a:2", end=End(RELAY, "smtp", inside=False, clear=True)),
    Node("loop", note="loop"),
])  # fmt: skip


def test_a_picture_is_well_formed_and_has_a_box_for_each_node() -> None:
    root = ElementTree.fromstring(picture(TREE))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in ("root", '<joe> & ?"co"', "x", "b@c.example", "loop")] == [
        "root", '<joe> & ?"co"', "x", "b@c.example", "loop",
    ]  # fmt: skip
    boxes = [group for group in root.iter("{http://www.w3.org/2000/svg}g") if group.get("class") == "x"]
    assert len(boxes) == 1, "what leaves in clear text stands out"
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        right = float(box.get("x", "0")) + float(box.get("width", "0"))
        assert right <= width and float(box.get("y", "0")) + float(box.get("height", "0")) <= height


def test_a_deep_tree_is_drawn() -> None:
    node = Node("end")
    for n in range(400):
        node = Node(f"n{n}", children=[node])
    ElementTree.fromstring(picture(node))
    assert len(list(drawn(node))) == 401
