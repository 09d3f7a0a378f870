"""What content needs of addressing; `pipeline.py` hands it over."""

from typing import Protocol


class Addressing(Protocol):
    def rewrite(self, address: str) -> str:
        """Standard form."""

    def by_name_alone(self, domain: str) -> bool:
        """Tables have users of this domain by their name alone: myorigin, and what we deliver in. Raises TableError and Pending."""
