from postwarden.roles.restarts import Restarts


def test_a_healthy_role_comes_back_at_once_and_a_sick_one_waits_longer_each_time() -> None:
    restarts = Restarts()
    assert restarts.after_death("courier", 3600) == 0
    assert [restarts.after_death("courier", 0.1) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert restarts.after_death("carrier", 0.1) == 0
    assert restarts.after_death("courier", 11) == 0
    assert restarts.after_death("courier", 0.1) == 0
