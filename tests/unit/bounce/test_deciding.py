import pytest

from postwarden.bounce.opening import open_reports
from postwarden.bounce.report import Reports
from postwarden.config.errors import ConfigError
from postwarden.mail.envelope import Envelope, Notify, Recipient
from postwarden.mail.round import Remark, Report, Round
from postwarden.mail.status import Status
from postwarden.testing.config import settings

NO = Status("5.1.1", "no")
LATER = Status("4.2.0", "later")
YES = Status("2.0.0", "delivered to mailbox", "local")
DOUBLE = "double-bounce@mx.example.com"
ALL = {
    "notify_classes": "bounce, 2bounce, delay",
    "bounce_notice_recipient": "b@pm",
    "delay_notice_recipient": "d@pm",
    "2bounce_notice_recipient": "2@pm",
}


def reports(**parameters: str) -> Reports:
    return open_reports(settings(**parameters), lambda: 0.0, lambda text: None)


def envelope(*notify: int, sender: str = "joe@x", **more: object) -> Envelope:
    recipients = tuple(Recipient(f"r{n}@y", notify=bits) for n, bits in enumerate(notify))
    return Envelope("ID", 0.0, sender, recipients, 10, **more)  # type: ignore[arg-type]


def decided(message: Envelope, what: Round, **parameters: str) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for one in reports(**parameters).reports(message, what):
        if isinstance(one, Remark):
            found.append((one.text, one.warning))
        else:
            kind = one.kind.value + (" copy" if one.postmaster else "")
            found.append((kind, one.sender, one.recipient, [index for index, _ in one.outcomes], one.whole))
    return found


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (0, True),
        (Notify.NEVER, False),
        (Notify.SUCCESS, False),
        (Notify.DELAY, False),
        (Notify.FAILURE, True),
        (Notify.FAILURE | Notify.DELAY, True),
    ],
)
def test_failures_and_expiry(notify: int, told: bool) -> None:
    message = envelope(notify)
    for what, kind in ((Round(failed=((0, NO),)), "failure"), (Round(expired=((0, LATER),)), "expiry")):
        copy = (f"{kind} copy", DOUBLE, "b@pm", [0], False)
        assert decided(message, what) == ([(kind, "", "joe@x", [0], True)] if told else [])
        assert decided(message, what, **ALL) == ([(kind, "", "joe@x", [0], True), copy] if told else [copy])


@pytest.mark.parametrize(
    ("notify", "told"), [(0, True), (Notify.NEVER, False), (Notify.FAILURE, False), (Notify.DELAY, True)]
)
def test_delays(notify: int, told: bool) -> None:
    copy = ("delay copy", DOUBLE, "d@pm", [0], False)
    mine = [("delay", "", "joe@x", [0], False)] if told else []
    assert decided(envelope(notify), Round(late=((0, LATER),)), **ALL) == [*mine, copy]
    assert decided(envelope(notify), Round(late=((0, LATER),))) == mine


def test_only_recipients_that_notify_are_named() -> None:
    what = Round(failed=((0, NO), (1, NO), (2, NO)))
    assert decided(envelope(Notify.NEVER, 0, Notify.SUCCESS), what) == [("failure", "", "joe@x", [1], True)]


def test_header_alone_where_the_sender_wants_no_more() -> None:
    assert decided(envelope(0, ret="HDRS"), Round(failed=((0, NO),))) == [("failure", "", "joe@x", [0], False)]


def test_mail_without_a_sender_is_reported_to_postmasters_or_nobody() -> None:
    what, message = Round(failed=((0, NO),)), envelope(0, sender="")
    double = ("failure copy", DOUBLE, "2@pm", [0], True)
    assert decided(message, what) == []
    assert decided(message, what, **ALL) == [double]
    assert decided(message, what, **ALL | {"notify_classes": "bounce"}) == [double]
    assert decided(message, what, **ALL | {"notify_classes": "delay"}) == []
    assert decided(message, Round(late=((0, LATER),)), **ALL) == []


def test_the_double_bounce_address_is_the_end_of_the_line() -> None:
    message = envelope(Notify.SUCCESS, sender="Double-Bounce@MX.example.com")
    assert decided(message, Round(failed=((0, NO),)), **ALL) == [
        ("undeliverable postmaster notification discarded", True)
    ]
    assert decided(message, Round(late=((0, LATER),)), **ALL) == []
    assert decided(message, Round(traced=((0, YES),)), **ALL) == [
        ("not sending trace/success notification for double-bounce message", False)
    ]


def test_success_without_a_sender() -> None:
    what, message = Round(traced=((0, YES),)), envelope(Notify.SUCCESS, sender="")
    assert decided(message, what) == [("not sending trace/success notification for single-bounce message", False)]
    assert decided(message, what, **ALL) == [("success", DOUBLE, "2@pm", [0], False)]


def test_aliases_are_told_of_once() -> None:
    message = envelope(0, expanded=(Recipient("alias@x"),))
    assert decided(message, Round(first=True)) == [("success", "", "joe@x", [1], False)]
    assert decided(message, Round()) == []


def test_verp_reports_one_recipient_at_a_time() -> None:
    message = envelope(0, 0, sender="list@x", verp="+=")
    what = Round(failed=((0, NO), (1, NO)))
    first, second = ("failure", "", "list+r0=y@x", [0], True), ("failure", "", "list+r1=y@x", [1], True)
    assert decided(message, what) == [first, second]
    assert decided(message, what, disable_verp_bounces="yes") == [("failure", "", "list@x", [0, 1], True)]


def test_many_verp_reports_do_not_bring_the_message_back() -> None:
    for count, whole in ((100, True), (101, False)):
        message = envelope(*[0] * count, sender="list@x", verp="+=")
        found = decided(message, Round(failed=tuple((n, NO) for n in range(count))))
        assert [one[-1] for one in found] == [whole] * count


@pytest.mark.parametrize(
    ("notify", "status", "trace", "warned", "told", "wanted"),
    [
        (0, YES, "", False, False, False),
        (Notify.SUCCESS, YES, "", False, False, True),
        (Notify.SUCCESS, Status("2.0.0", "ok", report="passed"), "", False, False, False),
        (Notify.SUCCESS, Status("2.0.0", "ok", report="relayed"), "", False, False, True),
        (Notify.SUCCESS, NO, "", False, False, False),
        (Notify.NEVER, NO, "record", False, False, True),
        (0, LATER, "record", False, False, True),
        (0, YES, "record", False, True, False),
        (0, LATER, "verify", False, True, True),
        (0, YES, "", True, False, True),
        (Notify.DELAY, YES, "", True, False, True),
        (Notify.FAILURE, YES, "", True, False, False),
        (0, NO, "", True, False, False),
    ],
)
def test_what_a_sender_wants_to_hear_whatever_it_is(
    notify: int, status: Status, trace: str, warned: bool, told: bool, wanted: bool
) -> None:
    decider = reports(confirm_delay_cleared="yes")
    assert decider.traces(envelope(notify, trace=trace), 0, status, warned=warned, told=told) is wanted


def test_a_cleared_delay_is_told_only_where_it_is_asked_for() -> None:
    assert not reports().traces(envelope(0), 0, YES, warned=True, told=False)


def test_verified_mail_does_not_fail() -> None:
    message = envelope(0, trace="verify")
    assert decided(message, Round(failed=((0, NO),), traced=((0, NO),))) == [("verify", "", "joe@x", [0], False)]


def test_an_unknown_class_is_an_error() -> None:
    with pytest.raises(ConfigError, match='notify_classes: unknown class "bounces"'):
        reports(notify_classes="bounces")


def test_the_bounce_service_has_its_own_settings() -> None:
    master = "bounce unix - - n - 0 bounce -o notify_classes=bounce -o bounce_notice_recipient=own@pm\n"
    found = open_reports(settings("", master), lambda: 0.0, lambda text: None)
    recipients = [
        one.recipient for one in found.reports(envelope(0), Round(failed=((0, NO),))) if isinstance(one, Report)
    ]
    assert recipients == ["joe@x", "own@pm"]
