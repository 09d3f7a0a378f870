"""What single servers need: replies put right, keywords not believed, the workarounds for a PIX firewall, and time-outs
that a server can't stretch. Log lines are smtp(8)'s."""

import pytest

from postwarden.config.view import view
from postwarden.deliver.smtp.params import LmtpParams, SmtpParams, lmtp_profile, smtp_profile
from postwarden.deliver.smtp.quirks import ByAddress, behind_firewall, open_quirks
from postwarden.mail.decision import Pending
from postwarden.mail.status import Action, Status
from postwarden.net.stream import Stream
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError
from postwarden.testing.config import settings
from postwarden.testing.remote import BANNER, Remote, Script
from postwarden.testing.smtp_client import BODY, HOST, Bench, job
from postwarden.testing.stream import Answering

STARS = Script({BANNER: b"220 ***********************\r\n"})
SERVER = "mx.remote.example[127.0.0.9]:25"


# replies


def test_a_line_of_a_reply_is_replaced() -> None:
    script = Script({"RCPT": b"550-5.1.1 one\r\n550 5.1.1 two\r\n"})
    bench = Bench(script, parameters={"smtp_reply_filter": "regexp:{{/^550([- ])(.*)/ 450$$1$$2 for now}}"})
    status = bench.deliver(job()).results[0]
    assert (status.code, status.remote_reply) == ("4.0.0", "450-5.1.1 one for now 450 5.1.1 two for now")
    assert f'smtp: {SERVER}: replacing server reply "550 5.1.1 two" with "450 5.1.1 two for now"' in bench.log.lines


def test_garbage_becomes_a_part_of_a_reply() -> None:
    script = Script({"MAIL": b"this is garbage\r\n250 2.1.0 fine\r\n"})
    rule = "regexp:{{!/^[2-5][0-9][0-9]/ 250-filler}}"
    bench = Bench(script, parameters={"smtp_reply_filter": rule})
    assert bench.deliver(job()).results[0].action is Action.SENT
    bench.deliver(job())
    assert len(bench.remotes) == 1  # a server that talks garbage is not kept


def test_what_a_server_offers_can_be_hidden() -> None:
    rule = "regexp:{{/^250-PIPELINING/ 250-X-HIDDEN}}"
    bench = Bench(parameters={"smtp_reply_filter": rule})
    bench.deliver(job())
    assert bench.deliverer.quirks is not None
    assert bench.remotes[0].commands[1].startswith(b"MAIL")
    assert any("PIPELINING" in line and "X-HIDDEN" in line for line in bench.log.lines)


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_filter_that_does_not_answer_ends_the_session(chunk: int) -> None:
    bench = Bench(chunk=chunk, parameters={"smtp_reply_filter": "fail:x"})
    status = bench.deliver(job()).results[0]
    assert (status.code, status.text) == ("4.3.0", "local data error while talking to mx.remote.example[127.0.0.9]")
    assert not bench.remotes[0].messages


@pytest.mark.parametrize("result", ["", "250 a\r\n250 b", "\0", "é", "250"])
def test_any_result_of_a_filter_is_one_line(result: str) -> None:
    bench = Bench(parameters={"smtp_rcpt_timeout": "2s"})

    class Filter:
        def __call__(self, server: str, line: bytes) -> bytes:
            return result.encode() if line.startswith(b"250 2.1.5") else line

        def told(self, status: Status) -> Status:
            return status

    class Only:
        discard = firewall = None
        replies = Filter()

    bench.deliverer.quirks = Only()  # type: ignore[assignment]
    outcome = bench.deliver(job())
    assert outcome.results[0].action in (Action.SENT, Action.DEFERRED, Action.BOUNCED)


# keywords


def test_keywords_are_not_believed_of_one_address() -> None:
    maps = {"smtp_discard_ehlo_keyword_address_maps": "inline:{{127.0.0.9=Pipelining, DSN}}"}
    bench = Bench(parameters=maps)
    bench.deliver(job())
    assert b"RCPT TO:<to@rcpt.example>" in bench.remotes[0].commands
    assert "smtp: discarding EHLO keywords: PIPELINING DSN" in bench.log.lines


def test_the_general_list_holds_for_the_others() -> None:
    parameters = {
        "smtp_discard_ehlo_keyword_address_maps": "inline:{192.0.2.1=silent-discard}",
        "smtp_discard_ehlo_keywords": "dsn size",
    }
    bench = Bench(parameters=parameters)
    bench.deliver(job())
    assert bench.remotes[0].commands[1] == b"MAIL FROM:<from@sender.example>"
    assert "smtp: discarding EHLO keywords: SIZE DSN" in bench.log.lines
    silent = Bench(parameters={"smtp_discard_ehlo_keywords": "dsn, silent-discard"})
    silent.deliver(job())
    assert not any("discarding" in line for line in silent.log.lines)


def test_a_table_of_keywords_that_does_not_answer() -> None:
    bench = Bench(parameters={"smtp_discard_ehlo_keyword_address_maps": "fail:x"})
    status = bench.deliver(job()).results[0]
    assert (status.code, status.text) == ("4.3.0", "local data error while talking to mx.remote.example[127.0.0.9]")
    said = "smtp: warning: 4ABC: smtp_discard_ehlo_keyword_address_maps map lookup error for 127.0.0.9"
    assert any(line.startswith(said) for line in bench.log.lines)
    assert bench.remotes[0].commands[-1] == b"QUIT"


def test_lmtp_has_its_own() -> None:
    bench = Bench(lmtp=True, parameters={"lmtp_discard_lhlo_keyword_address_maps": "static:dsn"})
    bench.deliver(job())
    assert b"RCPT TO:<to@rcpt.example>" in bench.remotes[0].commands


class Slow:
    """A table whose answer comes later."""

    name, fixed = "slow:x", True

    def __init__(self) -> None:
        self.answer: str | None = None

    def get(self, key: str):  # type: ignore[no-untyped-def]
        raise Pending(lambda: None)  # type: ignore[arg-type,return-value]

    def stale(self) -> bool:
        return False

    def reload(self) -> None:
        return


def test_a_slow_table_is_waited_for_or_fails() -> None:
    answers: list[object] = []
    ByAddress(Maps([Slow()]), "x").find(HOST, answers.append)
    assert isinstance(answers[0], TableError)
    waiting: list[object] = []
    ByAddress(Maps([Slow()]), "x", fetch=lambda ask, done: waiting.append(done)).find(HOST, answers.append)
    assert len(waiting) == 1 and len(answers) == 1


# firewall


@pytest.mark.parametrize(
    ("banner", "expected"),
    [
        ("220 ******", True), ("220 **** *** 02 *", True), ("220", True), ("220 ", True),
        ("220-***\n220 ***", False), ("220 mx ESMTP", False), ("220 *** ESMTP", False),
    ],
)  # fmt: skip
def test_the_banner_of_a_firewall(banner: str, expected: bool) -> None:
    assert behind_firewall(banner) is expected


def test_a_young_message_is_sent_without_esmtp() -> None:
    bench = Bench(STARS)
    bench.deliver(job(arrival=bench.clock.now()))
    assert bench.remotes[0].commands[0].startswith(b"HELO")
    assert bench.log.lines[0] == f"smtp: 4ABC: enabling PIX workarounds: disable_esmtp for {SERVER}"


def test_an_old_one_also_waits_for_the_dot() -> None:
    bench = Bench(STARS)
    arrival = bench.clock.now() - 500
    outcomes = bench.begin(job(arrival=arrival))
    assert bench.log.lines[0] == f"smtp: 4ABC: enabling PIX workarounds: disable_esmtp delay_dotcrlf for {SERVER}"
    remote = bench.remotes[0]
    assert remote._message.content.endswith(BODY) and not remote.messages
    bench.clock.advance(9.9)
    assert not outcomes and not remote.messages
    bench.clock.advance(0.2)
    assert outcomes[0].results[0].action is Action.SENT and remote.messages[0].content.endswith(BODY)


def test_the_dot_waits_for_big_messages_too() -> None:
    bench = Bench(
        STARS, parameters={"smtp_pix_workaround_threshold_time": "0s", "smtp_pix_workaround_delay_time": "1s"}
    )
    body = b"x" * 70 + b"\r\n"
    big = body * 8000
    assert bench.deliver(job(body=big)).results[0].action is Action.SENT
    assert bench.remotes[0].messages[0].content.endswith(body)


def test_a_server_that_goes_while_the_dot_waits() -> None:
    script = Script({BANNER: b"220 ****\r\n"}, close_after=20)
    bench = Bench(script, parameters={"smtp_pix_workaround_threshold_time": "0s"})
    status = bench.deliver(job()).results[0]
    assert status.text == "lost connection with mx.remote.example[127.0.0.9] while sending message body"


@pytest.mark.parametrize(
    ("table", "hello", "words"),
    [
        ("inline:{127.0.0.9=delay_dotcrlf}", b"EHLO", "delay_dotcrlf"),
        ("inline:{127.0.0.9=whatever}", b"EHLO", ""),
        ("inline:{127.0.0.8=whatever}", b"HELO", "disable_esmtp delay_dotcrlf"),
        ("fail:x", b"HELO", "disable_esmtp delay_dotcrlf"),
    ],
)
def test_one_address_can_have_workarounds_of_its_own(table: str, hello: bytes, words: str) -> None:
    parameters = {"smtp_pix_workaround_maps": table, "smtp_pix_workaround_threshold_time": "0s"}
    bench = Bench(STARS, parameters=parameters)
    assert bench.deliver(job()).results[0].action is Action.SENT
    assert bench.remotes[0].commands[0].startswith(hello)
    assert f"smtp: 4ABC: enabling PIX workarounds: {words} for {SERVER}" in bench.log.lines


def test_no_workarounds() -> None:
    bench = Bench(STARS, parameters={"smtp_pix_workarounds": ""})
    bench.deliver(job(arrival=bench.clock.now() - 5000))
    assert bench.remotes[0].commands[0].startswith(b"EHLO")
    assert not any("PIX" in line for line in bench.log.lines)


# deadlines


class Dripping(Answering):
    """Says the reply to MAIL byte by byte, one a second."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def opened(self, stream: Stream) -> None:
        super().opened(stream)
        stream.write(b"220 x ESMTP\r\n")

    def received(self, data: bytes) -> None:
        if data.startswith(b"EHLO"):
            self.stream.write(b"250 x\r\n")
        elif data.startswith(b"MAIL"):
            self._drip(b"250 2.1.0 Ok\r\n")
        else:
            self.stream.write(b"550 5.0.0 enough\r\n")

    def _drip(self, rest: bytes) -> None:
        self.stream.write(rest[:1])
        if rest[1:]:
            self._bench.clock.call_later(1.0, lambda: self._drip(rest[1:]))


@pytest.mark.parametrize("deadline", ["yes", "no"])
def test_a_reply_that_comes_byte_by_byte(deadline: str) -> None:
    bench = Bench(parameters={"smtp_per_request_deadline": deadline, "smtp_mail_timeout": "3s"})
    bench.dial._servers = {(HOST.address, 25): lambda: Dripping(bench)}
    status = bench.deliver(job()).results[0]
    if deadline == "yes":
        wanted = "conversation with mx.remote.example[127.0.0.9] timed out while sending MAIL FROM"
        assert (status.code, status.text) == ("4.4.2", wanted)
    else:
        assert status.code == "5.0.0"


class Trickle(Remote):
    """Takes 64 KiB of content each half second."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(Script(), later=bench.clock.call_soon)
        self._bench = bench

    def received(self, data: bytes) -> None:
        super().received(data)
        if self._in_data and self.stream is not None:
            self.stream.pause()
            self._bench.clock.call_later(0.5, self.stream.resume)


@pytest.mark.parametrize(
    ("deadline", "rate", "sent"), [("yes", "500", True), ("yes", "5000000", False), ("no", "5000000", True)]
)
def test_content_earns_the_time_that_it_takes(deadline: str, rate: str, sent: bool) -> None:
    """1 MB at 128 KB a second; each pause is shorter than the time-out."""
    parameters = {
        "smtp_per_request_deadline": deadline, "smtp_min_data_rate": rate, "smtp_data_xfer_timeout": "2s",
    }  # fmt: skip
    bench = Bench(chunk=65536, parameters=parameters)
    bench.dial._servers = {(HOST.address, 25): lambda: Trickle(bench)}
    outcome = bench.deliver(job(body=(b"x" * 62 + b"\r\n") * 16384))
    assert (outcome.results[0].action is Action.SENT) is sent
    if not sent:
        text = "conversation with mx.remote.example[127.0.0.9] timed out while sending message body"
        assert outcome.results[0].text == text


@pytest.mark.parametrize("command", ["smtp", "lmtp"])
def test_each_program_has_parameters_of_its_own(command: str) -> None:
    keyword = "lhlo" if command == "lmtp" else "ehlo"
    names = (f"{command}_discard_{keyword}_keyword_address_maps", f"{command}_pix_workaround_maps",
             f"{command}_reply_filter")  # fmt: skip
    made = settings(**dict.fromkeys(names, "static:x"))
    for other in ("smtp", "lmtp"):
        quirks = open_quirks(made, "", Tables.of(made), command=other, say=print, warn=print)
        assert (quirks is not None) is (other == command)
    quirks = open_quirks(made, "", Tables.of(made), command=command, say=print, warn=print)
    assert quirks is not None and None not in (quirks.discard, quirks.firewall, quirks.replies)
    values = {f"{command}_per_request_deadline": "yes", f"{command}_min_data_rate": "7",
              f"{command}_pix_workarounds": "Delay_dotcrlf, nonsense", f"{command}_pix_workaround_delay_time": "3s",
              f"{command}_pix_workaround_threshold_time": "4s"}  # fmt: skip
    made = settings(**values)
    profile = smtp_profile(view(SmtpParams, made)) if command == "smtp" else lmtp_profile(view(LmtpParams, made))
    assert (profile.per_request, profile.data_rate, profile.firewall) == (True, 7, {"delay_dotcrlf"})
    assert (profile.dot_delay, profile.firewall_after) == (3, 4)


def test_a_refusal_that_a_filter_made_names_its_entry() -> None:
    entry = "/^250 2.1.5/ 450 4.1.1 not now"
    bench = Bench(parameters={"smtp_reply_filter": f"regexp:{{{{{entry}}}}}"})
    status = bench.deliver(job()).results[0]
    assert status.code == "4.1.1"
    assert status.cause == "smtp_reply_filter"
    assert "/^250 2.1.5/" in status.origin


def test_a_refusal_of_the_server_itself_names_no_filter() -> None:
    bench = Bench(Script({"RCPT": b"550 5.1.1 unknown\r\n"}), parameters={
        "smtp_reply_filter": "regexp:{{/^250-PIPELINING/ 250-X-HIDDEN}}"})  # fmt: skip
    assert bench.deliver(job()).results[0].cause == ""


def test_a_filter_that_leaves_nothing_of_a_reply_is_named() -> None:
    bench = Bench(parameters={"smtp_reply_filter": "regexp:{{/^250 2.1.5/ ${9}}}"})
    status = bench.deliver(job()).results[0]
    assert (status.code[0], status.cause) == ("4", "smtp_reply_filter"), status
