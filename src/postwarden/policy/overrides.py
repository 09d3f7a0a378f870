"""receive_override_options, as far as it is policy's affair."""

from msgspec import structs

from postwarden.config.entries import Entry, Service
from postwarden.config.settings import Settings
from postwarden.config.values import split


def without_checks(settings: Settings, key: str) -> Settings:
    """For the judge of service `key`: behind a content filter that has asked already, nobody asks whether recipients
    exist (no_unknown_recipient_checks). A restriction that says so itself still does. Raises ConfigError."""
    name = "receive_override_options"
    if "no_unknown_recipient_checks" not in split(settings.text(name, key)):
        return settings
    off = {"smtpd_reject_unlisted_recipient": Entry("no", settings.origin(name, key))}

    def changed(service: Service) -> Service:
        return structs.replace(service, overrides=service.overrides | off) if service.key == key else service

    return structs.replace(settings, services=tuple(map(changed, settings.services)))
