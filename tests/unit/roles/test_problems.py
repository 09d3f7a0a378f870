"""What would keep a role from starting is known before: a reload must not find it out."""

import pytest

from postwarden import rehearsal
from postwarden.testing.config import settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_tls_security_level", "dane-only"),
        ("lmtp_tls_security_level", "strong"),
        ("smtp_destination_concurrency_positive_feedback", "2"),
        ("default_destination_concurrency_negative_feedback", "much"),
    ],
)
def test_a_client_that_could_not_start(name: str, value: str) -> None:
    master_cf = "smtp unix - - n - - smtp\nlmtp unix - - n - - lmtp\n"
    found = rehearsal.problems(settings(f"{name} = {value}\n", master_cf))
    assert [problem.origin.line for problem in found if problem.severity == "error"] == [1], found
    assert rehearsal.problems(settings("", master_cf)) == []


@pytest.mark.parametrize("parameter", ["authorized_submit_users = nosuch:x", "local_login_sender_maps = nosuch:x"])
def test_what_is_wrong_with_local_submission_is_found_before_the_start(parameter: str) -> None:
    found = [str(problem) for problem in rehearsal.problems(settings(f"{parameter}\n"))]
    assert any("nosuch" in problem for problem in found), found


def test_the_pickup_service_may_not_name_a_profile_that_is_not_there() -> None:
    master_cf = "pickup unix n - n 60 1 pickup\n  -o cleanup_service_name=none\n"
    found = [str(problem) for problem in rehearsal.problems(settings("", master_cf))]
    assert any("no cleanup service none in master.cf" in problem for problem in found), found


@pytest.mark.parametrize("parameter", ["fast_flush_domains", "authorized_mailq_users", "authorized_flush_users"])
def test_lists_that_the_courier_could_not_open(parameter: str) -> None:
    found = [str(problem) for problem in rehearsal.problems(settings(f"{parameter} = nosuch:x\n"))]
    assert any("nosuch" in problem for problem in found), found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("smtp_tls_security_level = dane", "TLSA records are not looked up"),
        ("tls_ssl_options = NO_COMPRESSION, NO_SUCH", "no such option: NO_SUCH"),
        ("tls_disable_workarounds = 0xZ", "no such option: 0xZ"),
    ],
)
def test_tls_that_is_less_than_it_is_called(line: str, said: str) -> None:
    master_cf = "smtp unix - - n - - smtp\nlocal unix - n n - - local\nrelay unix - - n - - smtp\n"
    found = [problem for problem in rehearsal.warnings(settings(line + "\n", master_cf)) if said in problem.text]
    assert found and {problem.origin.line for problem in found} == {1}
    plain = "smtp_tls_security_level = may\ntls_ssl_options = 0x4000\n"
    assert [p for p in rehearsal.warnings(settings(plain, master_cf)) if "virtual" not in p.text] == []


@pytest.mark.parametrize(
    "name",
    ["smtp_reply_filter", "smtp_dns_reply_filter", "smtp_pix_workaround_maps", "smtp_discard_ehlo_keyword_address_maps",
     "pipe_delivery_status_filter", "local_delivery_status_filter"],
)  # fmt: skip
def test_tables_of_the_sending_side_that_could_not_be_opened(name: str) -> None:
    master_cf = "smtp unix - - n - - smtp\nlocal unix - n n - - local\nprog unix - n n - - pipe user=x argv=y\n"
    found = rehearsal.problems(settings(f"{name} = nosuch:x\n", master_cf))
    assert [problem.origin.line for problem in found if "nosuch" in problem.text][:1] == [1], found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("smtp_dns_resolver_options = res_all", "res_all is none of"),
        ("info_log_address_format = x", "neither external"),
    ],
)
def test_words_of_the_sending_side_that_do_not_exist(line: str, said: str) -> None:
    found = rehearsal.problems(settings(f"{line}\n"))
    assert any(said in problem.text and problem.origin.line == 1 for problem in found), found
