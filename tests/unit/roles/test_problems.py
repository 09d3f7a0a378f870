"""What would keep a role from starting is known before: a reload must not find it out."""

import pytest

from postwarden import pipeline
from postwarden.testing.config import settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_tls_security_level", "dane"),
        ("lmtp_tls_security_level", "verify"),
        ("smtp_destination_concurrency_positive_feedback", "2"),
        ("default_destination_concurrency_negative_feedback", "much"),
    ],
)
def test_a_client_that_could_not_start(name: str, value: str) -> None:
    master_cf = "smtp unix - - n - - smtp\nlmtp unix - - n - - lmtp\n"
    found = pipeline.problems(settings(f"{name} = {value}\n", master_cf))
    assert [problem.origin.line for problem in found if problem.severity == "error"] == [1], found
    assert pipeline.problems(settings("", master_cf)) == []
