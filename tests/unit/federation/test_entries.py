import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.addressing.aliases import Destination, Kind, destinations
from postwarden.explain.leads import targets_of
from postwarden.federation.entries import Unfit, read_entries, rendered_name, rendered_targets


def test_entries_with_their_lines() -> None:
    data = b'# list\nSales: joe,\n  ann@example.com\n\n"john doe": |x\n'
    first, second = read_entries(data, "sales:/f", "sales")
    assert (first.name, first.origin.line, first.source) == ("sales", 2, "sales")
    assert [t.value for t in first.targets] == ["joe", "ann@example.com"]
    assert (second.name, str(second.origin)) == ("john doe", "sales:/f:5")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a: b\nc: d", r"s:2: the file ends within a line"),
        (b"a: b\nc", r"s:2: the file ends within a line"),
        (b"a: b\nc\n", r's:2: no ":"'),
        (b"a: b\nc: \n", r"s:2: nothing behind"),
        (b"a: b\n\0\n", r"s:2: a NUL byte"),
        (b"a: b\nc: \xff\n", r"s:2: not UTF-8"),
        (bytes(range(128, 256)) * 100 + b"\n", r"s:1: not UTF-8"),
        (b"a" * 300 + b": b\n", "no name that mail can have"),
        (b'"a\x07": b\n', "no name that mail can have"),
        (b"a: " + b"x," * 10_001 + b"\n", "more than 10000 targets"),
    ],
)
def test_a_damaged_file_is_refused_as_a_whole(data: bytes, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        read_entries(data, "s", "s")


def test_the_end_mark_tells_a_whole_file() -> None:
    assert len(read_entries(b"a: b\n# END\n", "s", "s", "# END")) == 1
    with pytest.raises(Unfit, match="s:1: the last line is not"):
        read_entries(b"a: b\n", "s", "s", "# END")


@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.text(max_size=20)), min_size=1, max_size=4))
def test_what_is_written_is_read_as_the_same(parts: list[tuple[Kind, str]]) -> None:
    targets = tuple(Destination(kind, value) for kind, value in parts)
    try:
        text = rendered_targets(targets)
    except ValueError:
        return
    assert destinations(text) == list(targets)
    assert "\n" not in text


@pytest.mark.parametrize(
    "value",
    ["joe, ann@example.com",
     '"|/usr/bin/x -a \\"b c\\"", :include:/l/x', '"/path with space"', '\\joe, "a b"@c.example',
     '":include:/a b"', "<>"],
)  # fmt: skip
def test_ordinary_targets_can_be_written(value: str) -> None:
    targets = tuple(destinations(value))
    assert destinations(rendered_targets(targets)) == list(targets)


@given(st.text(alphabet="abc@.,+- _", max_size=30))
def test_the_short_way_reads_the_same(value: str) -> None:
    assert targets_of(value) == destinations(value)


@given(st.text(min_size=1, max_size=20))
def test_a_name_that_is_written_is_read_as_the_same(name: str) -> None:
    try:
        text = rendered_name(name)
    except ValueError:
        return
    (entry,) = read_entries(f"{text}: x\n".encode(), "s", "s")
    assert entry.name.casefold() == name.casefold()
