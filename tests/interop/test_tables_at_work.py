"""Tables of many types in a gateway that runs: what they answer is heard, and what changes is heard soon."""

import sqlite3
from pathlib import Path

import pytest
from tests.passable import passable
from tests.talk import answer
from tests.whole import Gateway, Sink, running, until

from postwarden.tables.writing import IndexWriter

pytestmark = pytest.mark.slow


def replace(file: Path, text: str) -> None:
    """In one step: what is seen half written is another text."""
    file.with_suffix(".new").write_text(text)
    file.with_suffix(".new").rename(file)


def test_tables_of_many_types(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    passable(tables)
    base = sqlite3.connect(tables / "users.db", isolation_level=None)
    base.execute("create table users(name, action)")
    base.execute("insert into users values('sql@sink.example', 'REJECT from sqlite')")
    (tables / "users.cf").write_text(f"dbpath = {tables}/users.db\nquery = select action from users where name='%s'\n")
    (tables / "rules").write_text("/^(?!ok)(pcre[0-9])@/ REJECT $1 by pcre\n")
    (tables / "words").write_text("piped@sink.example word\n")
    (tables / "indexed").write_text("indexed@sink.example REJECT from the text\nbad\n")
    (tables / "nets").write_text("10.1.2.3/8 REJECT by cidr\n")
    maps = (
        f"pcre:{tables}/rules", f"sqlite:{tables}/users.cf",
        f"pipemap:{{texthash:{tables}/words, inline:{{ {{word=REJECT by pipe}} }}}}",
        "debug:unionmap:{inline:{ {union@sink.example=REJECT one} }, inline:{ {union@sink.example=two} }}",
        "pipemap:{inline:{down@sink.example=x}, fail:x}",
        f"hash:{tables}/indexed",
        f"pipemap:{{inline:{{late@sink.example=x}}, texthash:{tables}/late}}",
        f"pipemap:{{inline:{{cidr@sink.example=10.1.2.3, other@sink.example=11.1.2.3}}, cidr:{tables}/nets}}",
    )  # fmt: skip
    (tmp_path / "us").mkdir()
    sink = Sink()
    settings = {
        "smtpd_recipient_restrictions": " ".join(f"check_recipient_access {name}" for name in maps),
        "smtpd_delay_open_until_valid_rcpt": "yes",
    }
    try:
        with running(Gateway(tmp_path / "us", sink.port, **settings)) as gateway:
            heard = {
                name: answer(gateway.port, f"{name}@sink.example")
                for name in ("pcre1", "sql", "piped", "union", "down", "fine", "indexed", "late", "cidr", "other")
            }
            assert "pcre1 by pcre" in heard["pcre1"]
            assert "from sqlite" in heard["sql"]
            assert "by pipe" in heard["piped"]
            assert "one,two" in heard["union"]
            assert heard["down"].startswith("451 4.3.0")
            assert heard["fine"].startswith("250")
            assert heard["other"].startswith("250")
            assert "from the text" in heard["indexed"]
            assert heard["late"].startswith("451 4.3.0")
            assert heard["cidr"].startswith("451 4.3.0")
            writer = IndexWriter(str(tables / "indexed"))
            writer.add([(b"indexed@sink.example", b"REJECT from the index", 1)], print)
            writer.publish()
            (tables / "late").write_text("x REJECT not too late\n")
            replace(tables / "nets", "10.0.0.0/8 REJECT by cidr\n")
            until(lambda: 'lookup: "fine@sink.example" = "not_found"' in gateway.log())
            base.execute("insert into users values('new@sink.example', 'REJECT at once')")
            assert "at once" in answer(gateway.port, "new@sink.example")
            replace(tables / "rules", "/^later@/ REJECT later\n")
            for address, text in (
                ("later", "later"), ("indexed", "from the index"), ("late", "not too late"), ("cidr", "by cidr"),
            ):  # fmt: skip
                found = lambda to=address, text=text: text in answer(gateway.port, f"{to}@sink.example")  # noqa: E731
                until(lambda found=found: all(found() for _ in range(8)), said=f"every receiver says {text}")
            replace(tables / "rules", "/(/ x\n")
            until(lambda: f"{tables}/rules:1: " in gateway.log())
            assert "later" in answer(gateway.port, "later@sink.example")
    finally:
        base.close()
        sink.close()
