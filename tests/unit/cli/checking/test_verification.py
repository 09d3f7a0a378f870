import pytest

from postwarden.cli.checking import verification
from postwarden.testing.config import settings

LISTENER = "smtp inet n - n - - smtpd\n"


def said(main_cf: str, master_cf: str = LISTENER) -> list[tuple[str, int, str]]:
    return [(f.severity, f.origin.line, f.what) for f in verification.findings(settings(main_cf, master_cf))]


@pytest.mark.parametrize(
    "main_cf",
    [
        "",
        "smtpd_recipient_restrictions = reject_unverified_recipient\n",
        "smtpd_recipient_restrictions = reject_unauth_destination, reject_unverified_recipient\n"
        "smtpd_relay_restrictions =\n",
        "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination, reject_unverified_recipient\n",
        "smtpd_sender_restrictions = check_sender_access inline:{forged.example=reject_unverified_sender}\n",
        "smtpd_sender_restrictions = warn_if_reject reject_unverified_sender\n",
        "smtpd_sender_restrictions = permit, reject_unverified_sender\n",
        "smtpd_client_restrictions = permit_mynetworks, reject\n"
        "smtpd_recipient_restrictions = reject_unverified_recipient\n",
        "smtpd_sender_restrictions = reject_unverified_recipient\nsmtpd_delay_reject = no\n",
        "unverified_recipient_defer_code = 250\n",
        "smtpd_recipient_restrictions = reject_unverified_recipient\nrelayhost = [relay.example]\n",
        "address_verify_map = btree:$data_directory/verify\n",
        "address_verify_map =\n",
    ],
)
def test_nothing_is_said_of(main_cf: str) -> None:
    assert said(main_cf) == []


@pytest.mark.parametrize("name", ["smtpd_sender_restrictions", "smtpd_recipient_restrictions"])
def test_senders_of_everybody(name: str) -> None:
    ((severity, line, what),) = said(f"{name} = reject_unknown_sender_domain, reject_unverified_sender\n")
    assert (severity, line, what) == ("warning", 1, f"{name}: reject_unverified_sender for mail from everybody")
    own = "smtpd_restriction_classes = checked\nchecked = reject_unverified_sender\n"
    assert said(f"{own}{name} = checked\n")[0][:2] == ("warning", 3)


@pytest.mark.parametrize(
    "lists",
    [
        "smtpd_sender_restrictions = reject_unverified_recipient\n",
        "smtpd_client_restrictions = permit_mynetworks, warn_if_reject reject_unverified_recipient\n",
        "smtpd_relay_restrictions = reject_unverified_recipient, reject_unauth_destination\n",
        "smtpd_recipient_restrictions = reject_unverified_recipient, reject_unauth_destination\n"
        "smtpd_relay_before_recipient_restrictions = no\n",
        "smtpd_recipient_restrictions = reject_unverified_recipient, reject_unauth_destination\n"
        "smtpd_relay_restrictions = permit_mynetworks\n",
    ],
)
def test_strangers_must_not_have_us_ask_anybody(lists: str) -> None:
    ((severity, line, what),) = said(lists)
    assert (severity, line) == ("warning", 1) and what.endswith("before anything refuses to relay")


def test_each_listener_is_looked_at() -> None:
    master_cf = LISTENER + "587 inet n - n - - smtpd -o smtpd_sender_restrictions=reject_unverified_sender\n"
    assert [(severity, line) for severity, line, _ in said("", master_cf)] == [("warning", 2)]


def test_what_is_taken_while_nobody_can_be_asked() -> None:
    main_cf = "unverified_recipient_defer_code = 250\nsmtpd_recipient_restrictions = reject_unverified_recipient\n"
    assert said(main_cf) == [("note", 1, "unverified_recipient_defer_code = 250")]


def test_a_relay_that_takes_mail_for_everybody() -> None:
    main_cf = "relayhost = [relay.example]\nsmtpd_sender_restrictions = warn_if_reject reject_unverified_sender\n"
    assert said(main_cf) == [("note", 1, "reject_unverified_sender asks [relay.example]")]
    assert said(f"{main_cf}address_verify_relayhost =\n") == []


@pytest.mark.parametrize("value", ["proxy:btree:/var/x", "memcache:/etc/x", "btree:/var/a, btree:/var/b"])
def test_where_results_are_kept(value: str) -> None:
    ((severity, line, what),) = said(f"address_verify_map = {value}\n")
    assert (severity, line) == ("note", 1) and what.startswith("address_verify_map: ")
