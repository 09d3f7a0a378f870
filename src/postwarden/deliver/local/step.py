"""Where the expansion of a recipient stands."""

from msgspec import Struct

from postwarden.deliver.local.rights import TRUSTED, Rights


class Step(Struct, frozen=True):
    """Where the expansion stands."""

    address: str
    """The recipient now, with its domain."""
    sender: str
    depth: int = 0
    owner: str = ""
    """Who answers for the list that this came from: not empty forbids direct delivery."""
    rights: Rights = TRUSTED
    source: str = ""
    """`alias`, `include`, or empty: what allow_mail_to_files and _commands ask."""
    within: str = ""
    """Name of the alias that is being expanded, in lower case: in its own list it means the user."""
    released: bool = False
    """A list with an owner is behind us."""
    extension: str = ""
    """Not matched yet, with its delimiter: propagate_unmatched_extensions may add it to what an alias lists."""
    caught: bool = False
    """luser_relay has been here: it is not asked again."""
