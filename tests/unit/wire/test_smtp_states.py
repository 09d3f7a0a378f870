from hypothesis import given
from hypothesis import strategies as st

from postwarden.wire.smtp_states import BANNER, END, IN_TRANSACTION, LAST, STEPS, VERBS, State, after, legal

CONTENT = {"DATA", "BDAT", LAST, END}
events = st.sampled_from(sorted({event for steps in STEPS.values() for event in steps} | {"EHLO", "BOGUS"}))
codes = st.sampled_from((220, 250, 354, 421, 450, 503, 550))


def test_every_step_leads_to_a_state_that_exists() -> None:
    assert set(STEPS) == set(State)
    for steps in STEPS.values():
        for pair in steps.values():
            assert all(isinstance(state, State) for state in pair)


def test_content_is_legal_only_after_an_accepted_recipient() -> None:
    for state in State:
        assert legal(state, "DATA") == (state is State.RCPT)
        assert legal(state, "BDAT") == legal(state, LAST) == (state in (State.RCPT, State.CHUNKS, State.SPOILED))


def test_a_refused_content_command_ends_the_transaction() -> None:
    for state, steps in STEPS.items():
        for event in CONTENT & set(steps):
            assert after(state, event, 550) in (State.READY, State.SPOILED)


def test_a_spoiled_sequence_of_chunks_accepts_nothing() -> None:
    for event in STEPS[State.SPOILED]:
        assert after(State.SPOILED, event, 250) not in IN_TRANSACTION


def test_no_transaction_survives_a_new_hello() -> None:
    for state in IN_TRANSACTION - {State.DATA}:
        assert after(state, "EHLO", 250) is State.READY
        assert after(state, "RSET", 250) is State.READY


def test_421_closes_from_everywhere() -> None:
    for state in State:
        for event in STEPS[state]:
            assert after(state, event, 421) is State.CLOSED


def test_a_refused_banner_leaves_only_quit() -> None:
    assert after(State.CONNECTED, BANNER, 554) is State.REFUSED
    assert set(STEPS[State.REFUSED]) == {"QUIT"}


def test_starttls_ends_a_transaction_and_xclient_waits_for_its_end() -> None:
    for state in IN_TRANSACTION:
        assert after(state, "STARTTLS", 220) not in IN_TRANSACTION - {state}
        assert not legal(state, "XCLIENT")
    assert after(State.RCPT, "STARTTLS", 220) is State.HANDSHAKE


def test_verbs_are_words() -> None:
    assert all(verb.isalpha() for verb in VERBS)


@given(st.lists(st.tuples(events, codes), max_size=40))
def test_content_is_reached_only_through_mail_and_rcpt(steps: list[tuple[str, int]]) -> None:
    """Whatever is said and however it is answered: since the last end of a transaction there was a MAIL and a RCPT
    that were accepted, whenever content is accepted."""
    state = after(State.CONNECTED, BANNER, 220)
    mail = rcpt = False
    for event, code in steps:
        before, allowed = state, legal(state, event)
        state = after(state, event, code)
        accepted = allowed and code < 400
        if accepted and event in ("DATA", "BDAT", LAST) and before is not State.SPOILED:
            assert mail and rcpt
        if before not in IN_TRANSACTION and state in IN_TRANSACTION:
            assert event == "MAIL"
            mail, rcpt = True, False
        elif state not in IN_TRANSACTION:
            mail = rcpt = False
        elif accepted and event == "RCPT":
            rcpt = True
