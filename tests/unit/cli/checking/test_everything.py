from collections.abc import Iterator

import pytest

from postwarden.cli.checking import certificates, domains, everything
from postwarden.cli.checking.findings import Finding
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.mail.decision import BUILT_IN
from postwarden.testing.config import settings


def test_what_can_not_be_looked_at_keeps_nothing_else_from_being_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Settings) -> Iterator[Finding]:
        raise OSError(5, "Input/output error", "/etc/ssl/x")
        yield

    def wrong(settings: Settings) -> Iterator[Finding]:
        raise ConfigError(BUILT_IN, "said already")
        yield

    monkeypatch.setattr(certificates, "findings", broken)
    monkeypatch.setattr(domains, "findings", wrong)
    found = everything.check(settings("default_transport = error\nrelayhost = [a..b]\n"), ask=False)
    said = [f.what for f in found]
    assert "/etc/ssl/x: Input/output error" in said and "default_transport = error" in said
    assert any(what.startswith("relayhost: bad next hop [a..b]") for what in said)
    assert "said already" not in said
