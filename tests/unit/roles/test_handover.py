import os
import socket
from pathlib import Path

import pytest

from postwarden.config.settings import Settings
from postwarden.roles import handover
from postwarden.roles.handover import Handover, LogTarget
from postwarden.testing.config import settings

MASTER_CF = "smtp inet n - n - - smtpd\n465 inet n - n - - smtpd\n  -o smtpd_tls_key_file={key}\n"


def secret(path: Path, text: str = "secret", mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def content(fd: int) -> bytes:
    """What a role reads: it opens the descriptor's name, and so begins at the start."""
    data = Path(f"/proc/self/fd/{fd}").read_bytes()
    os.close(fd)
    return data


def test_only_what_others_may_not_read_is_handed_over(tmp_path: Path) -> None:
    private, public = secret(tmp_path / "key"), secret(tmp_path / "cert", mode=0o644)
    own = secret(tmp_path / "own")
    found = Handover(
        settings(
            master_cf_text=MASTER_CF.format(key=own),
            smtpd_tls_key_file=private,
            smtpd_tls_cert_file=public,
            smtp_tls_key_file=private,
            smtpd_tls_dkey_file=str(tmp_path / "missing"),
        )
    )
    assert found.paths == (private, own)


def test_a_key_that_is_made_later_is_handed_over_then(tmp_path: Path) -> None:
    key, cert = tmp_path / "key", tmp_path / "cert"
    found = Handover(settings(master_cf_text="", smtpd_tls_key_file=str(key), smtpd_tls_cert_file=str(cert)))
    assert found.paths == () and found.changed() == ()
    cert.write_text("for all to read")
    secret(key)
    assert found.changed() == (str(key),) and found.paths == (str(key),)
    assert [content(fd) for fd in found.descriptors()] == [b"secret"]
    assert found.changed() == ()


def test_definitions_of_tables_are_handed_over_with_those_that_they_name(tmp_path: Path) -> None:
    inner = secret(tmp_path / "inner.cf", "password = x\n")
    outer = secret(tmp_path / "outer.cf", f"backup = proxy:mysql:{inner}\n")
    other, public = secret(tmp_path / "other.cf"), secret(tmp_path / "public.cf", mode=0o644)
    key = secret(tmp_path / "key")
    found = Handover(
        settings(
            master_cf_text=MASTER_CF.format(key=key) + f"26 inet n - n - - smtpd\n  -o relay_domains=ldap:{other}\n",
            virtual_alias_maps=f"hash:{key}, unionmap:{{proxy:memcache:{outer}, pgsql:{public}}}",
            transport_maps="mysql:name",
        )
    )
    assert sorted(found.tables) == sorted([inner, outer, other])
    assert set(found.paths) == {key, *found.tables}


def test_a_role_reads_the_file_and_nothing_beside_it(tmp_path: Path) -> None:
    found = Handover(settings(smtpd_tls_key_file=secret(tmp_path / "key", "k" * 100_000)))
    (fd,) = found.descriptors()
    assert not os.get_inheritable(fd)
    assert "key" in os.readlink(f"/proc/self/fd/{fd}") and str(tmp_path) not in os.readlink(f"/proc/self/fd/{fd}")
    assert content(fd) == b"k" * 100_000


def test_a_renewed_file_is_told_once(tmp_path: Path) -> None:
    path = secret(tmp_path / "key")
    found = Handover(settings(smtpd_tls_key_file=path))
    assert found.changed() == ()
    secret(tmp_path / "new", "renewed")
    (tmp_path / "new").rename(path)
    assert found.changed() == (path,)
    assert found.changed() == ()
    assert [content(fd) for fd in found.descriptors((path,))] == [b"renewed"]


def test_a_file_that_vanished_is_handed_over_empty(tmp_path: Path) -> None:
    path = secret(tmp_path / "key")
    found = Handover(settings(smtpd_tls_key_file=path))
    os.unlink(path)
    assert found.changed() == (path,)
    assert [content(fd) for fd in found.descriptors()] == [b""]


def log_settings(tmp_path: Path, **more: str) -> Settings:
    return settings(queue_directory=str(tmp_path / "queue"), **more)


def test_a_log_file_is_appended_to_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "maillog"
    path.write_text("before\n")
    path.chmod(0o640)
    target = LogTarget(log_settings(tmp_path, maillog_file=str(path)))
    (fd,) = target.descriptors()
    os.write(fd, b"after\n")
    os.close(fd)
    target.close()
    target.close()
    assert target.to == "fd" and path.read_text() == "before\nafter\n"


def test_a_log_file_that_can_not_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        LogTarget(log_settings(tmp_path, maillog_file=str(tmp_path / "nowhere" / "maillog")))


def test_without_syslog_the_log_is_below_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_SYSLOG", str(tmp_path / "none"))
    (tmp_path / "queue" / "postwarden").mkdir(parents=True)
    target = LogTarget(log_settings(tmp_path))
    target.close()
    assert target.path == str(tmp_path / "queue" / "postwarden" / "maillog")
    assert os.stat(target.path).st_mode & 0o007 == 0


def test_the_terminal_can_be_the_log(tmp_path: Path) -> None:
    target = LogTarget(log_settings(tmp_path, maillog_file="/dev/stderr"))
    assert os.path.sameopenfile(target.fd, 2)
    target.close()


def test_the_log_below_the_queue_is_never_somebody_elses_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_SYSLOG", str(tmp_path / "none"))
    victim = tmp_path / "victim"
    victim.write_text("precious")
    spool = tmp_path / "queue" / "postwarden"
    spool.mkdir(parents=True)
    (spool / "maillog").symlink_to(victim)
    with pytest.raises(OSError):
        LogTarget(log_settings(tmp_path))
    (spool / "maillog").unlink()
    (spool / "maillog").hardlink_to(victim)
    with pytest.raises(PermissionError, match="one name"):
        LogTarget(log_settings(tmp_path))
    (spool / "maillog").unlink()
    os.mkfifo(spool / "maillog")
    with pytest.raises(OSError):
        LogTarget(log_settings(tmp_path))


def test_a_pipe_that_we_log_to_does_not_block_us_and_stays_as_it_is_for_others() -> None:
    reader, writer = os.pipe()
    ours = handover._own(writer)
    assert not os.get_blocking(ours)
    assert os.get_blocking(writer)
    here, there = socket.socketpair()
    with here, there:
        os.close(handover._own(here.fileno()))
    for fd in (reader, writer, ours):
        os.close(fd)


def test_a_fifo_that_nobody_reads_is_an_error_and_no_standstill(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError):
        LogTarget(settings(maillog_file=str(tmp_path / "log")))
