"""What content needs of addressing; `pipeline.py` hands it over."""

from typing import Protocol


class Addressing(Protocol):
    def rewrite(self, address: str) -> str:
        """Standard form."""

    def local_domain(self, domain: str) -> bool:
        """Ours to deliver in. Raises TableError and Pending."""
