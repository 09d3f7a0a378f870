"""Options of one service in master.cf that reach further than its own stage."""

import pytest

from postwarden import rehearsal
from postwarden.config.errors import ConfigError
from postwarden.testing.config import settings
from postwarden.testing.reception import Reception

MAIN_CF = {"relay_domains": "rel.example", "relay_recipient_maps": "", "mynetworks": "127.0.0.0/8"}


def stored_head(address: str, option: str = "", **parameters: str) -> bytes:
    config = settings("", f"smtp inet n - n - - smtpd\n{option}", **MAIN_CF, **parameters)
    made = Reception(config=config)
    made.connect(address).say("EHLO x", "MAIL FROM:<s@f.example>", "RCPT TO:<a@rel.example>", "DATA", "x: y", ".")
    return made.store.messages[0][1]


def test_local_header_rewrite_clients() -> None:
    all_of_them = "  -o local_header_rewrite_clients=static:all\n"
    assert b"Message-Id:" not in stored_head("192.0.2.10")
    assert b"Message-Id:" in stored_head("192.0.2.10", all_of_them)
    assert b"Message-Id:" in stored_head("192.0.2.10", "  -o mynetworks=192.0.2.0/24\n  -o " + PERMIT)
    assert b"Message-Id:" not in stored_head("192.0.2.10", "  -o " + PERMIT)
    table = "check_address_map inline:{192.0.2.10=x}"
    assert b"Message-Id:" in stored_head("192.0.2.10", local_header_rewrite_clients=table)
    nobody = stored_head("192.0.2.10", local_header_rewrite_clients="check_address_map texthash:/nonexistent")
    assert b"Message-Id:" not in nobody


PERMIT = "local_header_rewrite_clients=permit_mynetworks\n"


def test_a_cleanup_service_that_is_not_there_stops_the_start() -> None:
    config = settings("", "smtp inet n - n - - smtpd\n  -o cleanup_service_name=strict\n", **MAIN_CF)
    with pytest.raises(ConfigError, match="no cleanup service strict"):
        Reception(config=config)
    assert any("no cleanup service strict" in problem.text for problem in rehearsal.problems(config))
    there = "smtp inet n - n - - smtpd\n  -o cleanup_service_name=strict\nstrict unix n - n - 0 cleanup\n"
    Reception(config=settings("", there, **MAIN_CF))
