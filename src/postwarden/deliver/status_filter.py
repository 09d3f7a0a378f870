"""What an operator wants said of a delivery instead of what we would say (smtp_delivery_status_filter and its like)."""

import re
from collections.abc import Callable

from msgspec.structs import replace

from postwarden.mail.decision import Pending
from postwarden.mail.status import Status
from postwarden.tables.maps import Maps
from postwarden.tables.table import TableError

_FORM = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})[ \t]+(\S.*)", re.DOTALL)


class StatusFilter:
    """Applied once to each recipient's outcome, when it is known. What a table can't say, or says in another form, or
    what would turn success into failure or failure into success, changes nothing."""

    def __init__(
        self,
        maps: Maps,
        warn: Callable[[str], None],
        *,
        soft_bounce: bool = False,
        name: str = "delivery status filter",
    ) -> None:
        """`name`: of the parameter, for the log."""
        self._maps, self._warn, self._soft, self._name = maps, warn, soft_bounce, name

    def __bool__(self) -> bool:
        return bool(self._maps)

    def __call__(self, status: Status) -> Status:
        try:
            found = self._maps.find(f"{status.code} {status.text}")
        except (TableError, Pending) as error:
            # An answer that comes later is one too late: the status is written now.
            self._warn(f"{self._name}: {error if isinstance(error, TableError) else 'no answer at once'}")
            return status
        if found is None:
            return status
        form = _FORM.fullmatch(found.value.strip())
        if form is None or (form[1] == "2") != (status.code[0] == "2"):
            self._warn(f"{self._name}: bad status code: {found.value}")
            return status
        changed = replace(
            status,
            code=f"{form[1]}.{form[2]}.{form[3]}",
            text=form[4],
            cause=self._name,
            origin=f"{found.table} has {found.key}{f' ({found.origin})' if found.origin else ''}",
        )
        return changed.softened() if self._soft else changed
