"""What settings and tables made of an address on its way, noted while it happens, for whoever asks later."""

from msgspec import Struct

from postwarden.mail.decision import Origin, Rule

_MOST = 200
"""Steps of one message that are kept: a list of 10,000 that are aliases each would fill the store of decisions."""
MOST_RESULTS = 100
"""Of one step."""
_ROOM = 200_000
"""Characters of all steps of a message: a user's .forward file may list one address of a megabyte."""


class Remade(Struct, frozen=True, array_like=True):
    """One step. `rule` names the table, the key that matched and, of a text table, its line, without the text of it; or
    a setting."""

    parameter: str
    """`canonical_maps`, `append_at_myorigin`; `.forward` and `:include:` for what files of their own have."""
    before: str
    """Empty: every message."""
    after: tuple[str, ...]
    rule: Rule
    place: str = ""
    """Where the address stood, as the …_classes parameters call it: `envelope_sender`, `header_recipient`. Empty:
    where the message was delivered."""


class Remaking:
    """Steps of one message, each once. Who changes an address calls `note`: one that nothing changes costs nothing."""

    def __init__(self, *, kept: bool = True) -> None:
        """`kept`: somebody will ask; else nothing is noted."""
        self.place = ""
        self._most = _MOST if kept else 0
        self._steps: dict[tuple[str, str, str], Remade] = {}
        self._room = _ROOM

    def note(self, parameter: str, before: str, after: tuple[str, ...], rule: Rule, *, copy: bool = False) -> None:
        """`copy`: the address stays, and these are beside it: the same once more is no change, but a copy."""
        if len(self._steps) >= self._most or (not copy and after == (before,)):
            return
        before, after = _encodable(before), tuple(map(_encodable, after[:MOST_RESULTS]))
        room = self._room - len(before) - sum(map(len, after))
        if room >= 0 and (self.place, parameter, before) not in self._steps:
            self._room = room
            because = Rule(rule.name, _encodable(rule.argument), Origin(rule.origin.file, rule.origin.line, ""))
            self._steps[self.place, parameter, before] = Remade(parameter, before, after, because, self.place)

    def taken(self) -> tuple[Remade, ...]:
        """What was noted since this was called last."""
        if not self._steps:
            return ()
        steps = tuple(self._steps.values())
        self._steps.clear()
        self._room = _ROOM
        return steps


def _encodable(text: str) -> str:
    """A table may have any bytes, and a channel between roles takes text alone."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
