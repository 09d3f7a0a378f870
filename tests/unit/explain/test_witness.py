"""Whoever explains or replays puts something round the tables of a configuration."""

import pytest

from postwarden.cli.replaying.unasked import Unasked, Unrecorded
from postwarden.explain.witness import Look, Witness
from postwarden.tables.opening import Tables
from postwarden.tables.table import Found, TableError
from postwarden.testing.config import settings

BOTH = "unionmap:{inline:{a=1}, tcp:127.0.0.1:1}"


def test_what_a_parameter_names_is_seen_once_and_in_order() -> None:
    witness = Witness()
    tables = Tables.of(settings(), wrapper=witness)
    plain, union = tables.table("inline:{a=1}"), tables.table("unionmap:{inline:{a=1}, inline:{a=2}}")
    assert plain.get("a") is not None and union.get("b") is None
    first, second = witness.taken()
    assert first == Look("inline:{a=1}", "a", Found("1", "a", "inline:{a=1}", first.found and first.found.origin))
    assert (second.table, second.key, second.found) == (union.name, "b", None)
    assert witness.taken() == []
    failing = tables.table("fail:x")
    with pytest.raises(TableError):
        failing.get("a")
    assert [look.fault for look in witness.taken()] != [""]


def test_a_table_that_would_ask_somebody_is_not_asked_even_within_another() -> None:
    tables = Tables.of(settings(), wrapper=Unasked())
    with pytest.raises(Unrecorded) as missing:
        tables.table(BOTH).get("a")
    assert missing.value.key == "tcp:127.0.0.1:1 a"
    found = tables.table("inline:{a=1}").get("a")
    assert found is not None and found.value == "1"
