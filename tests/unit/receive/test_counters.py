from postwarden.receive.counters import CELLS, MESSAGES, RECIPIENTS, Counters


def columns(number: int) -> list[Counters]:
    made = Counters.create()
    return [Counters(made.fileno(), n) for n in range(number)]


def test_processes_see_each_others_figures() -> None:
    one, two = columns(2)
    assert one.connect("smtp", "192.0.2.1", 100.0) == (1, 1)
    assert two.connect("smtp", "192.0.2.1", 100.0) == (2, 2)
    one.disconnect("smtp", "192.0.2.1")
    assert two.connect("smtp", "192.0.2.1", 100.0) == (2, 3)


def test_services_and_clients_are_counted_apart() -> None:
    (one,) = columns(1)
    one.connect("smtp", "192.0.2.1", 100.0)
    assert one.connect("smtp", "192.0.2.2", 100.0) == (1, 1)
    assert one.connect("submission", "192.0.2.1", 100.0) == (1, 1)


def test_rates_begin_anew_with_each_window_and_connections_stay() -> None:
    (one,) = columns(1)
    one.connect("smtp", "192.0.2.1", 100.0)
    assert one.count("smtp", "192.0.2.1", 100.0, MESSAGES) == 1
    assert one.count("smtp", "192.0.2.1", 101.0, MESSAGES) == 2
    assert one.count("smtp", "192.0.2.1", 101.0, RECIPIENTS) == 1
    assert one.count("smtp", "192.0.2.1", 161.0, MESSAGES) == 1
    assert one.connect("smtp", "192.0.2.1", 161.0) == (2, 1)


def test_a_dead_process_is_forgotten() -> None:
    one, two = columns(2)
    one.connect("smtp", "192.0.2.1", 100.0)
    two.clear(0)
    assert two.connect("smtp", "192.0.2.1", 100.0) == (1, 1)


def test_more_clients_than_cells_are_never_counted_too_high() -> None:
    (one,) = columns(1)
    for n in range(CELLS):
        assert one.connect("smtp", f"client{n}", 100.0)[0] <= 1
    for n in range(CELLS):
        assert one.count("smtp", f"other{n}", 200.0, MESSAGES) <= 1


def test_a_disconnect_too_many_does_no_harm() -> None:
    (one,) = columns(1)
    one.disconnect("smtp", "192.0.2.1")
    one.connect("smtp", "192.0.2.1", 100.0)
    one.disconnect("smtp", "192.0.2.1")
    one.disconnect("smtp", "192.0.2.1")
    assert one.connect("smtp", "192.0.2.1", 100.0) == (1, 2)
