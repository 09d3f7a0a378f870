"""`$user`, `$home` and the other names that forward_path, command_execution_directory and luser_relay know."""

from collections.abc import Mapping

from postwarden.config.expand import expand
from postwarden.deliver.programs.environment import harmless

_OURS = frozenset(("home", "shell"))
"""They come from the password file, and not from whoever sent the mail."""


class Names:
    """The values for one address. Raises ExpandError where a pattern has a mistake."""

    def __init__(self, values: Mapping[str, str], allowed: frozenset[str] | None) -> None:
        """`allowed`: what a stranger's text may hold; None: anything."""
        self._values = values
        self._allowed = allowed
        self.missing = False
        """A name was asked for that this address does not have."""

    def expand(self, pattern: str) -> str:
        self.missing = False
        return expand(pattern, self._value)

    def _value(self, name: str) -> str:
        text = self._values.get(name, "")
        self.missing = self.missing or not text
        if self._allowed is not None and name not in _OURS:
            text = harmless(text, self._allowed)
        # A name in an address must not be taken for one of ours.
        return text.replace("$", "$$")


def names(address: str, user: str, extension: str, delimiter: str) -> dict[str, str]:
    """Of a recipient. `extension` is with its delimiter, `delimiter` the first of recipient_delimiter's."""
    local, _, domain = address.rpartition("@")
    return {
        "user": user,
        "recipient": address,
        "extension": extension[1:],
        "domain": domain,
        "local": local,
        "recipient_delimiter": extension[:1] or delimiter[:1],
    }
