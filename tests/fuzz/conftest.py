"""The longer fuzzing tries the same each time, so that it says of a change what it said of the one before."""

from hypothesis import settings
from tests.fuzz.rounds import rounds

settings.register_profile("longer", max_examples=rounds(100), deadline=None, derandomize=True)
if rounds(1) > 1:
    settings.load_profile("longer")
