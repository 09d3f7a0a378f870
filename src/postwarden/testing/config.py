"""Settings from text, for a machine that is always the same: mx.example.com, 192.0.2.1/24 and loopback."""

from postwarden.config.embedded import MASTER_CF
from postwarden.config.main_cf import parse_main_cf
from postwarden.config.master_cf import parse_master_cf
from postwarden.config.settings import Entry, Settings
from postwarden.config.system import System
from postwarden.mail.decision import Origin

SYSTEM = System("mx.example.com", ("127.0.0.1/8", "192.0.2.1/24", "::1/128"))


def settings(main_cf_text: str = "", master_cf_text: str = MASTER_CF.decode(), **parameters: str) -> Settings:
    """Settings of these files, in /etc/postfix by name only; `parameters` are further lines of main.cf.

    compatibility_level is 3.6 unless the text or a parameter says otherwise. Raises ConfigError.
    """
    entries, warnings = parse_main_cf(main_cf_text.encode(), "/etc/postfix/main.cf")
    entries.setdefault("compatibility_level", Entry("3.6", Origin("/etc/postfix/main.cf", 0, "")))
    for number, (name, value) in enumerate(parameters.items(), main_cf_text.count("\n") + 1):
        entries[name] = Entry(value, Origin("/etc/postfix/main.cf", number, f"{name} = {value}"))
    services, more = parse_master_cf(master_cf_text.encode(), "/etc/postfix/master.cf")
    return Settings("/etc/postfix", entries, services, SYSTEM, (*warnings, *more))
