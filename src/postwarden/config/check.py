"""What an operator should hear of a configuration before it is used."""

from postwarden.config.errors import Problem
from postwarden.config.settings import Settings


def problems(settings: Settings) -> list[Problem]:
    """Everything wrong or strange, errors and warnings."""
    return list(settings.problems)
