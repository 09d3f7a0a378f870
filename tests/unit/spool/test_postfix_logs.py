from pathlib import Path

from postwarden.mail.status import Status
from postwarden.spool.postfix_logs import Logged, parse, read

BLOCK = """
<one@x>: host mx[1.2.3.4] said: 450 4.2.0 busy
recipient=one@x
original_recipient=two@x
offset=719
dsn_orig_rcpt=rfc822;one@x
notify_flags=14
status=4.2.0
action=delayed
diag_type=smtp
diag_text=450 4.2.0 busy = full
mta_type=dns
mta_mname=mx
reason=host mx[1.2.3.4] said: 450 4.2.0 busy
"""


def test_what_the_remote_server_said() -> None:
    said = Status("4.2.0", "host mx[1.2.3.4] said: 450 4.2.0 busy", "none", "mx", "450 4.2.0 busy = full")
    assert parse(BLOCK.encode()) == {719: Logged(719, "delayed", said)}


def test_the_last_word_counts() -> None:
    later = BLOCK.replace("reason=host", "reason=later host")
    assert parse((BLOCK + "\n" + later).encode())[719].status.text.startswith("later host")


def test_what_is_no_block_is_left_out() -> None:
    for bad in ("offset=x\nstatus=4.0.0\n", "offset=5\nstatus=9.9.9\n", "offset=5\n", "junk\n\n\xff=\n", "offset=-1\n"):
        assert parse(bad.encode()) == {}


def test_no_log(tmp_path: Path) -> None:
    assert read("") == {} and read(str(tmp_path / "none")) == {}
