from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.settings import load
from postwarden.federation.hostkeys import host_keys
from postwarden.federation.sources import Federation, Pull, Push, load_federation

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def read(directory: Path, text: str) -> Federation:
    (directory / "main.cf").write_text("mydomain = example.com\n")
    (directory / "alias-sources.cf").write_text(text)
    return load_federation(load(directory))


def test_a_pull_and_a_push(tmp_path: Path) -> None:
    federation = read(
        tmp_path,
        f"""
sources = sales plant
sales.pull = sftp://aliases@mail.sales.example:2222/etc/aliases
sales.key = /etc/postfix/ssh/sales
sales.host_key = {KEY} root@mail
sales.names = Sales, sales-*
sales.hosts = .sales.example $mydomain
sales.commands = {{ /usr/bin/vacation -a, joe }}
sales.priority = 10
plant.push = /srv/aliases/plant
plant.shrink_limit = 50
shrink_limit = 30
""",
    )
    sales, plant = federation.sources
    assert sales.arrives == Pull(
        "aliases", "mail.sales.example", 2222, "/etc/aliases", "/etc/postfix/ssh/sales", host_keys(KEY)
    )
    assert (sales.names, sales.hosts) == (("sales", "sales-*"), (".sales.example", "example.com"))
    assert sales.commands == ("/usr/bin/vacation -a, joe",)
    assert (sales.priority, sales.shrink_limit, plant.shrink_limit) == (10, 30, 50)
    assert plant.arrives == Push("/srv/aliases/plant")
    assert (plant.names, plant.files, plant.includes, plant.commands) == ((), (), (), ())
    assert federation.table == f"hash:{tmp_path}/aliases.merged"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("sources = a\na.push = /a\na.namse = x", 3, "there is no such setting"),
        ("sources = a\na.push = /a\nb.push = /b", 3, "b is not in sources"),
        ("sources = a\na.push = /a\nsource = b", 3, "there is no such setting"),
        ("sources = A", 1, "small letters"),
        ("sources = a a\na.push = /a", 1, "named twice"),
        ("sources = a", 1, "either a.pull or a.push"),
        ("sources = a\na.push = /a\na.pull = sftp://u@h/p", 1, "either a.pull or a.push"),
        ("sources = a\na.push = a", 2, "begins with /"),
        ("sources = a\na.push = /a\na.files = /x/../etc/*", 3, "no absolute path"),
        ("sources = a\na.push = /a\ninterval = 3", 3, "not between"),
        ("sources = a\na.push = /a\ntable = regexp:/x", 3, "type:file"),
        ("sources = a\na.push = /a\ntable = hash:/x\nvirtual_table = cdb:/x", 4, "the same file"),
        ("sources = a\na.pull = http://u@h/p", 2, "expecting sftp://"),
        ("sources = a\na.pull = sftp://-oProxyCommand=x@h/p", 2, "expecting sftp://"),
        ("sources = a\na.pull = sftp://u@-oProxyCommand=x/p", 2, "expecting sftp://"),
        ('sources = a\na.pull = sftp://u@h/p"\\n!x', 2, "expecting sftp://"),
        ("sources = a\na.pull = sftp://u@h/etc/*", 2, "expecting sftp://"),
        ("sources = a\na.pull = sftp://u@h:99999/p", 2, "no host and port"),
        ("sources = a\na.pull = sftp://u@h/p", 2, "without a host key"),
        ("sources = a\na.pull = sftp://u@h/p\na.host_key = ssh-ed25519 AAAA", 3, "no such key"),
        ("sources = a\na.pull = sftp://u@h/p\na.host_key = ssh-ed25519", 3, "expecting a key type"),
        (f"sources = a\na.pull = sftp://u@h/p\na.host_key = {KEY[:-8]}", 3, "no such key"),
    ],
)
def test_a_mistake_is_named_by_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read(tmp_path, text)
    assert (caught.value.origin.file, caught.value.origin.line) == (f"{tmp_path}/alias-sources.cf", line)


def test_a_sources_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alias-sources.cf").touch()
    (tmp_path / "alias-sources.cf").chmod(0o664)
    with pytest.raises(ConfigError, match="written by others"):
        load_federation(load(tmp_path))


def test_without_a_file_there_are_no_sources(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_federation(load(tmp_path))


def test_a_fingerprint_is_that_of_ssh_keygen() -> None:
    assert host_keys(KEY)[0].fingerprint == "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"
