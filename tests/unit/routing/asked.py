"""Asking a finder whose resolver answers at once."""

from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.routing.finder import HostFinder


class Asked:
    finder: HostFinder

    def find(self, nexthop: str) -> tuple[Host, ...] | Status:
        results: list[tuple[Host, ...] | Status] = []
        self.finder.find(nexthop, results.append)
        assert len(results) == 1
        return results[0]

    def hosts(self, nexthop: str) -> list[str]:
        found = self.find(nexthop)
        assert not isinstance(found, Status), found
        return [f"{host.name}[{host.address}]:{host.port}" for host in found]

    def trouble(self, nexthop: str) -> str:
        found = self.find(nexthop)
        assert isinstance(found, Status), found
        return f"{found.code} {found.text}"
