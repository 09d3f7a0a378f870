"""Refusals because a table could not answer: which parameter names the table, and what helps."""

from collections.abc import Iterable

from postwarden.config.parameters import find
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.mail.decision import Fact, Rule

_STATUS = ("4.3.0", "4.3.5")


def is_table(name: str) -> bool:
    """Of a rule: `type:name`, where no restriction but what it needed decided."""
    return ":" in name and " " not in name


def fault(reply: str, facts: Iterable[Fact]) -> Fact | None:
    """Which table could not answer, and why; None: it is no fault of a table."""
    if reply[4:9] not in _STATUS:
        return None
    return next((fact for fact in facts if ":" in fact.subject and not fact.key), None)


def named(settings: Settings, rule: Rule, service: str) -> Rule:
    """A rule that has only a table's name, with the parameter that names it as the configuration is now."""
    if not is_table(rule.name) or rule.origin.file:
        return rule
    overridden = settings.find_service(service)
    names = (*(overridden.overrides if overridden is not None else ()), *settings.entries)
    for name in names:
        if find(name) is not None and rule.name in split(settings.text(name, service)):
            return Rule(name, rule.name, settings.origin(name, service))
    return rule


def cure(found: Fact, rule: Rule) -> str:
    where = f"; {rule.name} stands at {rule.origin}" if rule.origin.file else ""
    return f"mend {found.subject}: until it answers ({found.answer}), mail that needs it is put off{where}"
