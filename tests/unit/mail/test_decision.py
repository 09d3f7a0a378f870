import pytest

from postwarden.mail.decision import BUILT_IN, Origin


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (Origin("/etc/postfix/main.cf", 3, "a = b"), "/etc/postfix/main.cf:3"),
        (Origin("/etc/postfix/access", 0, ""), "/etc/postfix/access"),
        (BUILT_IN, "default"),
    ],
)
def test_where_it_was_written(origin: Origin, said: str) -> None:
    assert str(origin) == said
