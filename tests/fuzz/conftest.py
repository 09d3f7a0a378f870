from hypothesis import settings
from tests.fuzz.rounds import rounds

settings.register_profile("longer", max_examples=rounds(100), deadline=None)
if rounds(1) > 1:
    settings.load_profile("longer")
