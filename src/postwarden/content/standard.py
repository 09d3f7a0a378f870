"""Standard form of what clients and users write, with what in main.cf makes it so."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from postwarden.addressing.rewrite import Rewriter
from postwarden.mail.decision import BUILT_IN, Rule
from postwarden.mail.remade import Remaking

TRAILING_DOT = Rule("trailing dot", "", BUILT_IN)
_SAYS: Mapping[str, str] = MappingProxyType({"append_at_myorigin": "myorigin", "append_dot_mydomain": "mydomain"})
"""The parameter that has what is appended."""


class Standard:
    """`rewrite`, with its reasons noted where it changes something."""

    def __init__(
        self,
        rewrite: Callable[[str], str],
        rewriter: Rewriter,
        remaking: Remaking,
        written: Callable[[str], Rule],
        appended: str = "",
    ) -> None:
        """`rewriter` does what `rewrite` does. `written`: a parameter with its value; `appended`: the one that has
        what is appended, where that is neither myorigin nor mydomain."""
        self._rewrite = rewrite
        self._rewriter = rewriter
        self._remaking = remaking
        self._written = written
        self._appended = appended

    def __call__(self, address: str) -> str:
        whole = self._rewrite(address)
        if whole is not address:
            for parameter, before, after in self._rewriter.steps(address):
                self._remaking.note(parameter, before, (after,), self._because(parameter))
        return whole

    def _because(self, parameter: str) -> Rule:
        if parameter == TRAILING_DOT.name:
            return TRAILING_DOT
        says = _SAYS.get(parameter)
        return self._written(parameter if says is None else self._appended or says)
