"""How long the fuzzing lasts: `FUZZ=20 pytest tests/fuzz` tries twenty times as much as `make test` does."""

import os


def rounds(examples: int) -> int:
    return examples * int(os.environ.get("FUZZ", "1"))
