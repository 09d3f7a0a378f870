"""What content needs of addressing; `pipeline.py` hands it over."""

from typing import Protocol


class Addressing(Protocol):
    def rewrite(self, address: str) -> str:
        """Standard form."""

    def by_name_alone(self, domain: str) -> bool:
        """Tables have users of this domain by their name alone. Raises TableError and Pending."""
