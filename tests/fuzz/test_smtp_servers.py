"""Servers that say anything, to a client that has filters, workarounds and deadlines: each recipient gets one outcome,
and nothing is delivered that no server has taken."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.net.stream import Stream
from postwarden.testing.smtp_client import HOST, Bench, job
from postwarden.testing.stream import Answering

REPLIES = r"regexp:{{/^5(.*)/ 4$$1} {/^250-(.*)/ 250 $$1} {/^2(.)/ $$1} {/x/ 354 go} {!/^[2-5][0-9][0-9]/ 250-filler}}"
PARAMETERS = {
    "smtp_reply_filter": REPLIES,
    "smtp_discard_ehlo_keyword_address_maps": "static:pipelining",
    "smtp_pix_workaround_maps": "static:delay_dotcrlf",
    "smtp_pix_workaround_threshold_time": "0s",
    "smtp_per_request_deadline": "yes",
}
LINES = st.one_of(
    st.sampled_from((
        b"220 mx ESMTP\r\n", b"220 ***\r\n", b"250-mx\r\n250-PIPELINING\r\n250 DSN\r\n", b"250 ok\r\n", b"354 go\r\n",
        b"550 no\r\n", b"450-later\r\n450 later\r\n", b"221 bye\r\n", b"250 x", b"-\n", b"\0\r\n", b"x\r\n",
    )),
    st.binary(max_size=40),
)  # fmt: skip


class Server(Answering):
    """Says the next thing whenever it is spoken to, and at the beginning."""

    def __init__(self, said: list[bytes]) -> None:
        self.said = said
        self.dots = 0

    def opened(self, stream: Stream) -> None:
        super().opened(stream)
        self.received(b"")

    def received(self, data: bytes) -> None:
        self.dots += data.count(b"\r\n.\r\n") + (data == b".\r\n")
        if self.said:
            self.stream.write(self.said.pop(0))
        else:
            self.stream.close()


@settings(max_examples=rounds(60), deadline=None)
@given(st.lists(LINES, max_size=12), st.booleans(), st.integers(1, 3), st.sampled_from((0, 1)))
def test_each_recipient_gets_one_outcome(said: list[bytes], filtered: bool, people: int, chunk: int) -> None:
    bench = Bench(chunk=chunk, parameters=PARAMETERS if filtered else {})
    server = Server(list(said))
    bench.dial._servers = {(HOST.address, 25): lambda: server}
    outcome = bench.deliver(job(*(f"r{number}@rcpt.example" for number in range(people))))
    assert len(outcome.results) == people
    assert {status.code[0] for status in outcome.results} <= {"2", "4", "5"}
    if any(status.code[0] == "2" for status in outcome.results):
        assert server.dots
