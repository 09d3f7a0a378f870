"""Filters that main.cf names and this version can't ask. What happens is what main.cf wants to happen while they are
down: mail that nobody looked at must not pass for mail that somebody did."""

from collections.abc import Iterator

from msgspec import Struct

from postwarden.config.errors import Problem
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.mail.decision import Origin
from postwarden.mail.reply import Reply

NAMES = ("smtpd_milters", "smtpd_milter_maps", "non_smtpd_milters", "smtpd_proxy_filter")
_REPLIES = {
    "tempfail": Reply(451, "4.7.1", "Service unavailable - try again later"),
    "reject": Reply(550, "5.5.0", "Service unavailable"),
    "quarantine": None,
}
_MISTAKE = Reply(451, "4.3.5", "Server configuration problem - try again later")
_PROXY = Reply(451, "4.3.0", "Error: queue file write error")


class Absent(Struct, frozen=True):
    """What is done with a message instead of asking: it is refused, or, without a reply, it is held."""

    parameter: str
    origin: Origin
    reply: Reply | None


def absent_filter(settings: Settings, service: str = "", *, local: bool = False) -> Absent | None:
    """For the mail of an smtpd service, or of local users. None: nothing is to be asked, or it may pass unasked
    (milter_default_action = accept). Raises ConfigError."""
    if not local and settings.text("smtpd_proxy_filter", service).strip():
        return Absent("smtpd_proxy_filter", settings.origin("smtpd_proxy_filter", service), _PROXY)
    if "no_milters" in _items(settings.text("receive_override_options", service)):
        return None
    name = "non_smtpd_milters" if local else "smtpd_milters"
    default = settings.text("milter_default_action", service)
    wanted = [(name, _action(milter, default)) for milter in _items(settings.text(name, service))]
    if not local and settings.text("smtpd_milter_maps", service).strip():
        # Any client may have milters there, even where smtpd_milters names none.
        wanted.append(("smtpd_milter_maps", default.strip().lower()))
    for name, action in wanted:
        if action != "accept":
            return Absent(name, settings.origin(name, service), _REPLIES.get(action, _MISTAKE))
    return None


def _items(text: str) -> tuple[str, ...]:
    try:
        return split(text)
    except ValueError:
        return tuple(text.split())


def _action(milter: str, default: str) -> str:
    """One of `{ inet:host:port, default_action=accept }` has its own, perhaps in braces again."""
    if milter.startswith("{") and milter.endswith("}"):
        for setting in _items(milter[1:-1])[1:]:
            name, _, value = setting.removeprefix("{").removesuffix("}").partition("=")
            if name.strip() == "default_action":
                return value.strip().lower()
    return default.strip().lower()


def problems(settings: Settings) -> Iterator[Problem]:
    """What an operator should hear of each. Raises ConfigError."""
    for service in ("", *(s.key for s in settings.services if s.overrides)):
        for name in NAMES:
            if (settings.find_override(name, service) if service else settings.entry(name, "")) is None:
                continue
            if settings.text(name, service).strip():
                absent = absent_filter(settings, service, local=name == "non_smtpd_milters")
                origin = settings.origin(name, service)
                yield Problem(origin, "warning", f"{name}: not available in this version: {_fate(absent)}")


def _fate(absent: Absent | None) -> str:
    if absent is None:
        return "mail passes unseen by it, as milter_default_action says"
    if absent.reply is None:
        return "mail is put on hold, as milter_default_action says"
    return f"as when it is down, mail is answered with {absent.reply}"
