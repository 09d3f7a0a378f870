from collections.abc import Callable

import pytest

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import BUILT_IN, Decision, Effect, Pending, Rule, Verdict
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.receive.counters import Counters
from postwarden.testing.reception import Gate, Peer, Reception
from postwarden.testing.stream import FAKE_TLS

MAIL, RCPT = "MAIL FROM:<a@b.example>", "RCPT TO:<x@relay.example>"
RULE = Rule("test", "", BUILT_IN)
OK = Decision(Verdict.DUNNO, RULE)


class OneRule:
    """A judge that allows everything but what the test says."""

    def __init__(self, **rules: Callable[[SessionFacts], Decision]) -> None:
        self._rules = rules
        self.asked: list[tuple[str, SessionFacts]] = []

    def _ask(self, stage: str, facts: SessionFacts) -> Decision:
        self.asked.append((stage, facts))
        return self._rules[stage](facts) if stage in self._rules else OK

    def connect(self, facts: SessionFacts) -> Decision:
        return self._ask("connect", facts)

    def helo(self, facts: SessionFacts) -> Decision:
        return self._ask("helo", facts)

    def mail(self, facts: SessionFacts, sender: str) -> Decision:
        return self._ask("mail", facts)

    def recipient(self, facts: SessionFacts, recipient: str) -> Decision:
        return self._ask("recipient", facts)

    def data(self, facts: SessionFacts) -> Decision:
        return self._ask("data", facts)

    def end_of_data(self, facts: SessionFacts) -> Decision:
        return self._ask("end_of_data", facts)

    def etrn(self, facts: SessionFacts, domain: str, /) -> Decision:
        return self._ask("etrn", facts)

    def verify(self, facts: SessionFacts, address: str) -> Decision:
        return self._ask("verify", facts)


def reception(**parameters: str) -> Reception:
    return Reception(**({"relay_domains": "relay.example", "smtpd_error_sleep_time": "0"} | parameters))


def greeted(made: Reception, address: str = "127.0.0.1") -> Peer:
    peer = made.connect(address)
    peer.say("HELO x")
    return peer


def message(peer: Peer) -> str:
    return peer.say(MAIL, RCPT, "DATA", "a: b", ".")


def reject(code: int) -> Callable[[SessionFacts], Decision]:
    return lambda _: Decision(Verdict.REJECT, Rule("test", "", BUILT_IN), (), Reply(code, "5.7.1", "No"))


def test_names_are_looked_up_before_the_banner() -> None:
    made = reception()
    peer = made.connect("192.0.2.10")
    assert peer.hear() == "220 mx.example.com ESMTP Postfix\r\n"
    assert made.log == ["smtpd: connect from client.example.net[192.0.2.10]"]


def test_a_client_without_a_name_is_unknown() -> None:
    made = reception()
    made.connect("192.0.2.77")
    assert made.log == ["smtpd: connect from unknown[192.0.2.77]"]


def test_250_is_said_only_after_the_message_is_durable() -> None:
    made = reception()
    held: list[Callable[[], None]] = []
    made.store.post = held.append
    peer = greeted(made)
    assert message(peer).endswith("<CR><LF>.<CR><LF>\r\n")
    assert peer.say("NOOP") == ""
    held[0]()
    made.clock.run()
    assert peer.hear().splitlines()[0].startswith("250 2.0.0 Ok: queued as ")


def test_a_client_that_leaves_before_the_answer_does_no_harm() -> None:
    made = reception()
    held: list[Callable[[], None]] = []
    made.store.post = held.append
    peer = greeted(made)
    message(peer)
    peer.stream.abort()
    made.clock.run()
    held[0]()
    made.clock.run()
    assert len(made.store.messages) == 1
    assert not made.service.sessions


def test_a_half_closed_client_still_hears_its_answer() -> None:
    made = reception()
    peer = greeted(made)
    peer.stream.write(b"MAIL FROM:<>\r\nRCPT TO:<x@relay.example>\r\nDATA\r\na: b\r\n.\r\nQUIT\r\n")
    peer.stream.end()
    made.clock.run()
    assert peer.hear().splitlines()[-1] == "221 2.0.0 Bye"
    assert len(made.store.messages) == 1
    assert "lost connection" not in "".join(made.log)


def test_a_client_that_goes_in_the_midst_of_data_leaves_nothing() -> None:
    made = reception()
    peer = greeted(made)
    peer.say(MAIL, RCPT, "DATA", "a: b")
    peer.stream.end()
    made.clock.run()
    assert made.store.messages == [] and made.store.abandoned == 1
    assert made.log[-2].startswith("smtpd: lost connection after DATA (")
    assert made.log[-1] == "smtpd: disconnect from localhost[127.0.0.1] helo=1 mail=1 rcpt=1 data=0/1 commands=3/4"


def test_no_room() -> None:
    made = reception()
    made.store.full = Reply(452, "4.3.1", "Insufficient system storage")
    peer = greeted(made)
    assert peer.say(MAIL) == "452 4.3.1 Insufficient system storage\r\n"
    assert made.log[-1] == (
        "smtpd: NOQUEUE: reject: MAIL from localhost[127.0.0.1]: 452 4.3.1 Insufficient system storage; "
        "from=<a@b.example> proto=SMTP helo=<x>"
    )


def test_a_lacking_fact_holds_the_session_and_the_judge_is_asked_again() -> None:
    made = reception()
    gate = Gate(made.clock)
    known: list[int] = []

    async def fetch() -> None:
        await gate
        known.append(1)

    def rule(_: SessionFacts) -> Decision:
        if not known:
            raise Pending(fetch)
        return OK

    made.service.judge = judge = OneRule(recipient=rule)
    peer = greeted(made)
    assert peer.say(MAIL, RCPT, "NOOP") == "250 2.1.0 Ok\r\n"
    gate.open()
    made.clock.run()
    assert peer.hear() == "250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n"
    assert [stage for stage, _ in judge.asked].count("recipient") == 2


@pytest.mark.parametrize("stage", ["connect", "helo", "mail", "recipient", "data", "end_of_data"])
def test_each_stage_can_wait(stage: str) -> None:
    made = reception()
    asked: list[int] = []

    async def fetch() -> None:
        asked.append(1)

    def rule(_: SessionFacts) -> Decision:
        if len(asked) < 3:
            raise Pending(fetch)
        return OK

    made.service.judge = OneRule(**{stage: rule})
    peer = greeted(made)
    assert message(peer).splitlines()[-1].startswith("250 2.0.0 Ok: queued as ")
    assert len(asked) == 3 and len(made.store.messages) == 1


def test_a_fact_that_never_comes_ends_the_session_and_not_the_process() -> None:
    made = reception()

    async def fetch() -> None:
        return

    def rule(_: SessionFacts) -> Decision:
        raise Pending(fetch)

    made.service.judge = OneRule(recipient=rule)
    peer = greeted(made)
    assert peer.say(MAIL, RCPT).splitlines()[-1].startswith("451 4.3.0 ")
    assert peer.closed


def test_a_bug_in_policy_is_451_and_its_name_stays_here() -> None:
    made = reception()

    def rule(_: SessionFacts) -> Decision:
        raise ZeroDivisionError("secret")

    made.service.judge = OneRule(recipient=rule)
    peer = greeted(made)
    heard = peer.say(MAIL, RCPT)
    assert heard.splitlines()[-1] == "451 4.3.0 Error: internal error; try again later"
    assert peer.closed and "secret" not in heard
    assert any("ZeroDivisionError: secret" in line for line in made.log)


@pytest.mark.parametrize("code", [421, 521])
def test_a_reply_that_ends_the_connection(code: int) -> None:
    made = reception()
    made.service.judge = OneRule(recipient=reject(code))
    peer = greeted(made)
    assert peer.say(MAIL, RCPT, "NOOP").splitlines()[-1] == f"{code} 5.7.1 No"
    assert peer.closed


def test_a_discarded_message_is_answered_and_not_stored() -> None:
    made = reception()
    made.service.judge = OneRule(
        recipient=lambda _: Decision(Verdict.PERMIT, RULE, effects=(Effect("discard", "", "why", RULE),))
    )
    peer = greeted(made)
    assert message(peer).splitlines()[-1].startswith("250 2.0.0 Ok: queued as ")
    assert made.store.messages == [] and made.store.abandoned == 1


def test_facts_grow_with_the_session() -> None:
    made = reception()
    made.service.judge = judge = OneRule()
    peer = greeted(made)
    peer.say("MAIL FROM:<a@b.example> SIZE=77", RCPT, RCPT, "DATA", "a: b", ".")
    last: dict[str, SessionFacts] = dict(judge.asked)
    assert last["connect"].client.helo == "" and last["helo"].client.helo == "x"
    assert last["mail"].sender is None and last["recipient"].sender == "a@b.example"
    assert last["recipient"].recipients == 1 and last["recipient"].size == 77
    assert last["data"].recipients == 2 and last["data"].queue_id
    assert last["end_of_data"].size == 6
    assert last["end_of_data"].server_address == "192.0.2.1"


def test_errors_are_forgiven_by_a_message() -> None:
    peer = greeted(reception(smtpd_hard_error_limit="3"))
    for _ in range(3):
        assert peer.say("FOO").startswith("500 ")
        assert peer.say("FOO").startswith("500 ")
        message(peer)
    assert not peer.closed


def test_connection_count_limit() -> None:
    made = reception(smtpd_client_connection_count_limit="2", mynetworks="127.0.0.0/8")
    first, second = made.connect("192.0.2.10"), made.connect("192.0.2.10")
    assert second.hear().startswith("220 ")
    third = made.connect("192.0.2.10")
    assert third.hear() == "421 4.7.0 mx.example.com Error: too many connections from 192.0.2.10\r\n"
    assert third.closed
    assert (
        "smtpd: warning: Connection concurrency limit exceeded: 3 from client.example.net[192.0.2.10] for service smtp"
        in made.log
    )
    first.say("QUIT")
    assert made.connect("192.0.2.10").hear().startswith("220 ")
    assert all(made.connect("127.0.0.1").hear().startswith("220 ") for _ in range(4))


def test_rates() -> None:
    made = reception(
        smtpd_client_message_rate_limit="1",
        smtpd_client_recipient_rate_limit="1",
        smtpd_client_connection_rate_limit="3",
        mynetworks="127.0.0.0/8",
    )
    peer = greeted(made, "192.0.2.10")
    assert peer.say(MAIL, RCPT, RCPT) == (
        "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n450 4.7.1 Error: too many recipients from 192.0.2.10\r\n"
    )
    assert peer.say("RSET", MAIL).splitlines()[-1] == "450 4.7.1 Error: too much mail from 192.0.2.10"
    assert made.log[-1] == (
        "smtpd: warning: Message delivery request rate limit exceeded: 2 from client.example.net[192.0.2.10] "
        "for service smtp"
    )
    made.clock.advance(60)
    assert peer.say(MAIL) == "250 2.1.0 Ok\r\n"
    for _ in range(3):
        made.connect("192.0.2.10")
    assert made.connect("192.0.2.10").hear().startswith("421 4.7.0 ")


def test_a_link_local_client_has_no_scope_and_is_counted_off() -> None:
    made = reception(mynetworks="", smtpd_client_connection_count_limit="1")
    for _ in range(3):
        peer = greeted(made, "fe80::1%eth0")
        assert message(peer).splitlines()[-1].startswith("250 2.0.0 Ok")
        peer.say("QUIT")
    assert made.log[0] == "smtpd: connect from unknown[fe80::1]"
    assert b"(unknown [IPv6:fe80::1])" in made.store.messages[2][1]


def test_session_limit() -> None:
    made = reception(postwarden_session_limit="2")
    peers = [made.connect() for _ in range(3)]
    assert peers[2].hear() == "421 4.3.2 mx.example.com Error: all server ports are busy\r\n"
    peers[0].say("QUIT")
    assert made.connect().hear().startswith("220 ")


def test_the_limit_is_one_for_all_receivers() -> None:
    made = reception(postwarden_session_limit="2", smtpd_peername_lookup="no")
    shared = made.service.counters
    assert shared is not None
    neighbour = Counters(shared.fileno(), 1)
    neighbour.connect(made.service.name, "", made.clock.now())
    first, second = made.connect(), made.connect()
    assert first.hear().startswith("220 ")
    assert second.hear() == "421 4.3.2 mx.example.com Error: all server ports are busy\r\n" and second.closed
    full = 'smtpd: warning: service "smtp" has reached its limit of 2 sessions: clients are sent away'
    assert made.log.count(full) == 1
    neighbour.disconnect(made.service.name, "")
    assert made.connect().hear().startswith("220 ")
    assert made.connect().closed and made.log.count(full) == 1


def test_stress_holds_above_nine_tenths_of_the_limit() -> None:
    made = reception(postwarden_session_limit="20")
    peers = [made.connect() for _ in range(20)]
    assert [peer.session.params.smtpd_timeout for peer in peers] == [300] * 18 + [10] * 2
    assert peers[19].session.params.smtpd_hard_error_limit == 1
    for peer in peers[:3]:
        peer.say("QUIT")
    assert made.connect().session.params.smtpd_timeout == 300


def test_an_idle_client_is_sent_away_and_a_slow_disk_is_not_its_fault() -> None:
    made = reception()
    held: list[Callable[[], None]] = []
    made.store.post = held.append
    peer = greeted(made)
    message(peer)
    made.clock.advance(1000)
    assert not peer.closed
    held[0]()
    made.clock.run()
    assert peer.hear().startswith("250 ")
    made.clock.advance(299)
    assert not peer.closed
    made.clock.advance(2)
    assert peer.hear() == "421 4.4.2 mx.example.com Error: timeout exceeded\r\n"
    assert made.log[-2] == "smtpd: timeout after END-OF-MESSAGE from localhost[127.0.0.1]"


def test_leaving_waits_for_the_end_of_a_message() -> None:
    made = reception()
    idle, busy = greeted(made), greeted(made)
    busy.say(MAIL, RCPT, "DATA", "a: b")
    for session in list(made.service.sessions):
        session.leave()
    made.clock.run()
    assert idle.hear() == "421 4.3.2 mx.example.com Service shutting down\r\n" and idle.closed
    assert not busy.closed
    heard = busy.say(".")
    assert heard.startswith("250 2.0.0 Ok") and heard.endswith("421 4.3.2 mx.example.com Service shutting down\r\n")
    assert busy.closed and len(made.store.messages) == 1


def test_many_sessions_do_not_fill_the_memory_with_heads() -> None:
    made = reception(smtpd_client_connection_count_limit="0", message_size_limit="0")
    head = b"a: b\r\n" * 150_000
    peers = [made.connect() for _ in range(90)]
    for peer in peers:
        assert peer.say("EHLO x", MAIL, RCPT, "DATA").endswith("<CR><LF>.<CR><LF>\r\n")
        peer.say(head)
    assert made.service.heads < 70 << 20
    assert peers[-1].say(".") == "452 4.3.1 Insufficient system storage\r\n"
    assert peers[-1].say(MAIL, RCPT, "DATA", "a: b", ".").splitlines()[-1].startswith("250 2.0.0 Ok")
    assert peers[0].say(".").startswith("250 2.0.0 Ok")
    for peer in peers:
        peer.stream.close()
    made.clock.run()
    assert made.service.heads == 0


def test_who_comes_when_the_process_ends_is_sent_away() -> None:
    made = reception()
    made.service.leaving = True
    peer = made.connect()
    assert peer.hear().splitlines()[-1] == "421 4.3.2 mx.example.com Service shutting down" and peer.closed


def test_leaving_waits_for_the_end_of_a_chunk() -> None:
    made = reception()
    peer = made.connect()
    peer.say("EHLO x", MAIL, RCPT, "BDAT 10 LAST", b"a: b\r\n")
    for session in list(made.service.sessions):
        session.leave()
    made.clock.run()
    assert not peer.closed
    heard = peer.say(b"\r\n\r\n")
    assert heard.startswith("250 2.0.0 Ok: 10 bytes queued") and heard.splitlines()[-1].startswith("421 4.3.2")
    assert peer.closed and len(made.store.messages) == 1


def test_a_quoted_recipient_can_not_end_the_header_that_names_it() -> None:
    made = reception()
    greeted(made).say(MAIL, 'RCPT TO:<"x>; y"@relay.example>', "DATA", ".")
    assert b'\tfor <"x>; y"@relay.example>; ' in made.store.messages[0][1]


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    made = reception(smtpd_junk_command_limit="1000000", smtpd_hard_error_limit="1000000")
    peer = greeted(made)
    peer.stream.pause()
    peer.stream.write(b"VRFY x@relay.example\r\n" * 20_000)
    made.clock.run()
    said = len(peer.server.written)
    assert said < 20_000 * 25
    peer.stream.resume()
    made.clock.run()
    assert peer.hear().count("252 2.0.0 x@relay.example\r\n") == 20_000


def test_a_slow_spool_stops_the_reading_of_content() -> None:
    made = reception()
    peer = greeted(made)
    peer.say(MAIL, RCPT, "DATA", b"a: b\r\n\r\n")
    transaction = peer.session.transaction
    assert transaction is not None and transaction.draft is not None
    draft = transaction.draft
    draft.congested = True  # type: ignore[misc]
    peer.say(b"x" * 1000)
    size = transaction.intake.size if transaction.intake else 0
    for _ in range(10):
        peer.say(b"x" * 100_000)
    assert transaction.intake is not None and transaction.intake.size == size
    assert peer.session.machine.buffered <= 400_000
    draft.congested = False  # type: ignore[misc]
    assert draft.on_drained is not None
    draft.on_drained()
    made.clock.run()
    assert transaction.intake.size >= 1_001_000
    assert peer.say("", ".").startswith("250 2.0.0 Ok")


def test_implicit_tls() -> None:
    made = reception(smtpd_tls_loglevel="1")
    peer = made.connect(tls=FAKE_TLS)
    assert peer.hear().startswith("220 ")
    assert made.log[1] == (
        "smtpd: Anonymous TLS connection established from localhost[127.0.0.1]: TLSv1.3 with cipher "
        "TLS_AES_256_GCM_SHA384 (256/256 bits)"
    )
    peer.say("EHLO x")
    message(peer)
    assert b" with ESMTPS id " in made.store.messages[0][1]


def test_soft_bounce() -> None:
    peer = greeted(reception(soft_bounce="yes"))
    assert peer.say("FOO") == "400 4.5.2 Error: command not recognized\r\n"


def test_a_new_transaction_waits_while_the_courier_lags() -> None:
    made = reception()
    made.service.delay = 2.0
    peer = greeted(made)
    assert peer.say(MAIL, RCPT) == "250 2.1.0 Ok\r\n"
    made.clock.advance(2)
    assert peer.hear() == "250 2.1.5 Ok\r\n"


def test_ten_recipients_are_not_named_in_the_header() -> None:
    made = reception()
    peer = greeted(made)
    peer.say(MAIL, *[f"RCPT TO:<x{n}@relay.example>" for n in range(10)], "DATA", "a: b", ".")
    ((envelope, head, _),) = made.store.messages
    assert len(envelope.recipients) == 10 and b"relay.example" not in head


def test_dsn_parameters_are_kept() -> None:
    made = reception()
    peer = greeted(made)
    peer.say(
        "MAIL FROM:<a@b.example> RET=hdrs ENVID=x+2By BODY=8BITMIME SMTPUTF8",
        "RCPT TO:<x@relay.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;y@z",
        "DATA",
        "a: b",
        ".",
    )
    ((envelope, _, _),) = made.store.messages
    assert (envelope.ret, envelope.envid, envelope.eight_bit, envelope.smtputf8) == ("HDRS", "x+2By", True, True)
    assert (envelope.recipients[0].notify, envelope.recipients[0].orcpt) == (6, "rfc822;y@z")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"smtpd_forbid_bare_newline": "perhaps"}, "no such setting"),
        ({"smtpd_junk_command_limit": "many"}, "smtpd_junk_command_limit"),
    ],
)
def test_a_configuration_that_can_not_be_used_is_named(parameters: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        reception(**parameters)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "smtpd_tls_cert_file or smtpd_tls_chain_files is not set: disabling TLS support"),
        (
            {"smtpd_tls_cert_file": "/nowhere.pem"},
            "TLS certificate: /nowhere.pem: No such file or directory: disabling",
        ),
        ({"smtpd_tls_chain_files": "/nowhere.pem"}, "/nowhere.pem: No such file or directory: disabling"),
    ],
)
def test_tls_that_can_not_be_had_leaves_the_door_as_it_was(parameters: dict[str, str], text: str) -> None:
    for level, heard in (("may", "250 2.1.0 Ok\r\n"), ("encrypt", "530 5.7.0 Must issue a STARTTLS command first\r\n")):
        made = reception(smtpd_tls_security_level=level, **parameters)
        assert len(made.log) == 1 and text in made.log[0] and made.log[0].startswith("smtpd: warning: "), made.log
        peer = greeted(made)
        assert peer.say("STARTTLS") == "454 4.7.0 TLS not available due to local problem\r\n"
        assert peer.say(MAIL) == heard


def test_without_tls_nobody_is_served_where_it_comes_first() -> None:
    made = reception(smtpd_tls_wrappermode="yes", smtpd_tls_cert_file="/nowhere.pem")
    peer = made.connect()
    assert peer.closed and peer.hear() == "" and not made.service.sessions
    assert made.log[1:] == [
        "smtpd: connect from localhost[127.0.0.1]",
        "smtpd: warning: Wrapper-mode request dropped from localhost[127.0.0.1] for service smtp. TLS context "
        "initialization failed. For details see earlier warnings in your logs.",
        "smtpd: disconnect from localhost[127.0.0.1] commands=0/0",
    ]


@pytest.mark.parametrize(
    ("master_cf", "parameters", "limit"),
    [
        ("smtp inet n - n - - smtpd\n", {}, 20000),
        ("smtp inet n - n - 0 smtpd\n", {}, 20000),
        ("smtp inet n - n - 7 smtpd\n", {}, 7),
        ("smtp inet n - n - - smtpd\n", {"default_process_limit": "30"}, 30),
        ("smtp inet n - n - 7 smtpd\n", {"default_process_limit": "30"}, 7),
    ],
)
def test_what_limits_sessions(master_cf: str, parameters: dict[str, str], limit: int) -> None:
    from postwarden.receive.service import session_limit
    from postwarden.testing.config import settings

    assert session_limit(settings("", master_cf, **parameters), "smtp/inet") == limit


def test_discarded_keywords_are_not_offered() -> None:
    made = reception(smtpd_discard_ehlo_keywords="chunking, DSN silent-discard", disable_vrfy_command="yes")
    peer = made.connect()
    heard = peer.say("EHLO x")
    assert "CHUNKING" not in heard and "DSN" not in heard and "VRFY" not in heard and "SMTPUTF8" in heard
    assert peer.say("VRFY x").startswith("502 5.5.1 VRFY command is disabled")
    # What follows would be content, and is not read as commands.
    assert peer.say("BDAT 6 LAST", "NOOP") == "521 5.5.1 Error: command not implemented\r\n" and peer.closed
