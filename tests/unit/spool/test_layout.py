from postwarden.spool.layout import INSTANCES, instance_of, is_body, new_body, new_segment, parse_segment


def test_segment_names_read_back() -> None:
    name = new_segment(1_700_000_000.9, 5)
    assert parse_segment(str(name)) == name
    assert instance_of(name.number) == 5
    assert 0 < name.number < 1 << 63


def test_segments_are_in_the_order_of_time() -> None:
    assert new_segment(1_700_000_000, INSTANCES - 1).number < new_segment(1_700_000_000.001, 0).number


def test_numbers_differ_when_the_clock_stands_still() -> None:
    assert len({new_segment(1_700_000_000, 1).number for _ in range(50)}) > 25


def test_what_is_no_segment() -> None:
    name = str(new_segment(1_700_000_000, 1))
    for other in ("", f"{name}.new", name.upper(), name[1:], f"x{name}", f"{name}\n"):
        assert parse_segment(other) is None


def test_no_path_hides_in_a_body_name() -> None:
    assert is_body(new_body())
    for name in ("", "../../etc/passwd", "/etc/passwd", "x.body", f"../{new_body()}", f"{new_body()}\n", "0" * 32):
        assert not is_body(name)
