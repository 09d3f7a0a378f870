import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postwarden.wire.data import ChunkReader, DotReader, LineEnds, bare_lf, clean, normalize, strip_line_end

END = b"\r\n.\r\n"
awkward = st.lists(
    st.sampled_from((b"\r", b"\n", b".", b"\r\n", b"a", b"\r\n.", b"\r\n.\r\n", b"bc")), max_size=40
).map(b"".join)
ends = st.sampled_from(tuple(LineEnds))


def read(data: bytes, line_ends: LineEnds = LineEnds.NORMALIZE, step: int = 0) -> tuple[bytes, bytes, DotReader]:
    """Content, what follows it, and the reader."""
    reader, content, at = DotReader(line_ends), b"", 0
    step = step or len(data) or 1
    while at < len(data) and not reader.done:
        content += reader.feed(data[at : at + step])
        at += step
    return content, reader.rest + data[at:], reader


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"a\r\n.\r\n", b"a\r\n"),
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.a\r\n.\r\n", b".\r\na\r\n"),
        (b"a\nb\r\n.\r\n", b"a\r\nb\r\n"),
        (b"a\r.\r\nb\r\n.\r\n", b"a .\r\nb\r\n"),
        (b"a\r\r\nb\r\n.\r\n", b"a \r\nb\r\n"),
        (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n \r\nb\r\n"),
        (b"a\0\xff\r\n.\r\n", b"a\0\xff\r\n"),
    ],
)
def test_content(data: bytes, content: bytes) -> None:
    assert read(data)[0] == content
    assert read(data, step=1)[0] == content


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n.\r\r\n", b"\n.\n\n"])
def test_only_crlf_dot_crlf_ends_a_message(end: bytes) -> None:
    """Each of these was somewhere taken for the end: what follows would be a message with any sender."""
    content, rest, reader = read(b"a" + end + b"MAIL FROM:<evil@b.c>\r\n")
    assert not reader.done and rest == b""
    content, rest, reader = read(b"a" + end + b"b\r\n.\r\nQUIT\r\n")
    assert reader.done and rest == b"QUIT\r\n" and b"b\r\n" in content and END not in content


def test_lenient_takes_a_bare_end() -> None:
    assert read(b"a\n.\nQUIT\n", LineEnds.LENIENT)[:2] == (b"a\r\n", b"QUIT\n")


def test_a_bare_newline_is_reported() -> None:
    assert read(b"a\nb\r\n.\r\n")[2].bare_lf
    assert not read(b"a\rb\r\n.\r\n")[2].bare_lf


@given(awkward, ends, st.integers(1, 7))
@example(b"a\n.\r\n.\r\nx", LineEnds.NORMALIZE, 1)
@example(b"\n.\n", LineEnds.LENIENT, 1)
def test_pieces_change_nothing_and_what_comes_out_is_clean(data: bytes, line_ends: LineEnds, step: int) -> None:
    data += END
    content, rest, reader = read(data, line_ends)
    assert (content, rest) == read(data, line_ends, step)[:2]
    assert reader.done
    assert clean(content)
    assert content == b"" or content.endswith(b"\r\n")


@given(st.binary(max_size=400))
def test_what_a_client_stuffs_arrives_as_it_was(body: bytes) -> None:
    body = normalize(body).replace(b"\r", b" ").replace(b" \n", b"\r\n")
    lines = body.split(b"\r\n")
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
    assert read(stuffed + b".\r\n")[0] == body + b"\r\n"


@given(awkward)
def test_clean_is_what_it_says(data: bytes) -> None:
    assert clean(data) == (data.replace(b"\r\n", b"").translate(None, b"\r\n") == data.replace(b"\r\n", b""))
    assert clean(normalize(data))
    assert bare_lf(data) == (b"\n" in data.replace(b"\r\n", b""))


@given(awkward, st.integers(1, 7))
def test_chunks_change_nothing_and_what_comes_out_is_clean(data: bytes, step: int) -> None:
    whole, pieces = ChunkReader(), ChunkReader()
    content = whole.feed(data)
    cut = b"".join(pieces.feed(data[at : at + step]) for at in range(0, len(data), step))
    end = whole.finish()
    assert content + end == cut + pieces.finish()
    assert clean(content + end)
    assert whole.bare_lf == pieces.bare_lf == bare_lf(data)
    assert content + end == b"" or (content + end).endswith(b"\r\n")
    assert whole.finish() == b""


def test_a_line_of_dots_costs_no_more_than_its_length() -> None:
    content, _, reader = read(b"\n." * 200_000 + END)
    assert reader.done and len(content) < 1_000_000


def test_command_lines() -> None:
    assert strip_line_end(b"NOOP\r\n") == (b"NOOP", False)
    assert strip_line_end(b"NOOP\n") == (b"NOOP", True)
    assert strip_line_end(b"\n") == (b"", True)
