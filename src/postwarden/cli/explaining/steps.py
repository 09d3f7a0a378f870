"""What settings and tables made of the addresses of a recorded message, and what they would make of them now."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.explain.today import Now, Today, lined
from postwarden.mail.decision import Rule
from postwarden.mail.remade import Remade
from postwarden.trace.records import Mapped

_PLACES: Mapping[str, str] = MappingProxyType({
    "envelope_sender": "sender",
    "envelope_recipient": "recipient",
    "header_sender": "in the header, sender",
    "header_recipient": "in the header, recipient",
})  # fmt: skip
_GIVEN = "mail for {before} was given to {after}"
_SAYS: Mapping[str, str] = MappingProxyType({
    "alias_maps": "alias {before} became {after}",
    ".forward": "the .forward file of {before} says {after}",
    ":include:": "the list {before} has {after}",
    "always_bcc": "a copy for {after}",
    "sender_bcc_maps": "a copy for {after}, since the sender is {before}",
    "recipient_bcc_maps": "a copy for {after}, since {before} is a recipient",
    "smtp_generic_maps": "other servers see {before} as {after}",
    "lmtp_generic_maps": "other servers see {before} as {after}",
    "transport_maps": _GIVEN,
    "relocated_maps": _GIVEN,
    "best_mx_transport": _GIVEN,
    "sender_dependent_default_transport_maps": _GIVEN,
    "sender_dependent_relayhost_maps": _GIVEN,
})  # fmt: skip
_SHOWN = 20
"""Results of one step; `-j` has all that were kept."""


class StepText:
    """Of one message: a step that was taken again, in a later attempt, is told once."""

    def __init__(self, settings: Settings, sender: str) -> None:
        self._today = Today(settings)
        self._sender = sender
        self._told: set[tuple[str, str, tuple[str, ...], str]] = set()

    def lines(self, when: str, mapped: Mapped) -> Iterator[str]:
        step = _step(mapped)
        key = (step.parameter, step.before, step.after, step.place)
        if key in self._told:
            return
        self._told.add(key)
        says = _SAYS.get(step.parameter, f"{_PLACES.get(step.place, '')} {{before}} became {{after}}".strip())
        yield f"  {when} {says.format(before=step.before or '<>', after=_listed(step.after))}, by {step.parameter}"
        yield from _why(step, self._now(step))

    def value(self, mapped: Mapped) -> dict[str, Any] | None:
        """What would become of the address now, for programs; None: it can't be asked again."""
        now = self._now(_step(mapped))
        if now is None:
            return None
        by = None if now.rule is None else _written(now.rule)
        return {"after": list(now.after), "by": by, "fault": now.fault}

    def _now(self, step: Remade) -> Now | None:
        try:
            return self._today.of(step, self._sender)
        except ConfigError as error:
            return Now((), None, str(error))


def _step(mapped: Mapped) -> Remade:
    because = mapped.because
    rule = Rule(because.name, because.argument, because.origin)
    return Remade(mapped.parameter, mapped.before, mapped.after, rule, mapped.place)


def _why(step: Remade, now: Now | None) -> Iterator[str]:
    then, rule = step.rule, None if now is None else now.rule
    same = now is not None and not now.fault and _folded(now.after) == _folded(step.after)
    if same and rule is not None and not lined(then) and rule.name == then.name:
        then = rule  # an index has no lines: its source has
    text = _written(then)
    if text:
        yield f"      {text}"
    if now is None:
        return
    if now.fault:
        yield f"      what it would be now can't be said: {now.fault}"
    elif not same:
        changed = f"{_listed(now.after)}{f', by {_written(rule)}' if rule is not None else ''}"
        nothing = not now.after or now.after == (step.before,)
        yield f"      as the configuration is now: {'nothing is done' if nothing else changed}"
    elif rule is not None and _place(rule) != _place(then):
        yield f"      as the configuration is now: {_written(rule)}"


def _place(rule: Rule) -> tuple[str, str, int]:
    return rule.name, rule.origin.file, rule.origin.line


def _written(rule: Rule) -> str:
    if not rule.argument:
        return str(rule.origin) if rule.origin.file else ""
    if ":" not in rule.name:
        return f"{rule.name} = {rule.argument} ({rule.origin if rule.origin.file else 'its default'})"
    return f"{rule.name} has {rule.argument}" + (f" ({rule.origin})" if lined(rule) else "")


def _listed(after: tuple[str, ...]) -> str:
    more = len(after) - _SHOWN
    return ", ".join(after[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _folded(after: tuple[str, ...]) -> list[str]:
    return sorted(address.lower() for address in after)
