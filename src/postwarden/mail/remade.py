"""What settings and tables made of an address on its way, noted while it happens, for whoever asks later."""

from msgspec import Struct

from postwarden.mail.decision import Rule

_MOST = 200
"""Steps of one message that are kept: a list of 10,000 that are aliases each would fill the store of decisions."""
_MOST_RESULTS = 100
"""Of one step."""


class Remade(Struct, frozen=True, array_like=True):
    """One step. `rule` names the table, the key that matched and, of a text table, its line; or a setting."""

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

    def __init__(self) -> None:
        self.place = ""
        self._steps: dict[tuple[str, str, str], Remade] = {}

    def note(self, parameter: str, before: str, after: tuple[str, ...], rule: Rule, *, copy: bool = False) -> None:
        """`copy`: the address stays, and these are beside it: the same once more is no change, but a copy."""
        if (copy or after != (before,)) and len(self._steps) < _MOST:
            step = Remade(parameter, before, after[:_MOST_RESULTS], rule, self.place)
            self._steps.setdefault((self.place, parameter, before), step)

    def taken(self) -> tuple[Remade, ...]:
        """What was noted since this was called last."""
        if not self._steps:
            return ()
        steps = tuple(self._steps.values())
        self._steps.clear()
        return steps
