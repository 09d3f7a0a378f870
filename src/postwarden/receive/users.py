"""Local users: who may submit, and in whose name (authorized_submit_users, local_login_sender_maps)."""

from collections.abc import Callable

from postwarden.config.settings import Settings
from postwarden.mail.address import split
from postwarden.receive.params import SubmitParams
from postwarden.tables.accounts import LoginTable
from postwarden.tables.keys import split_extension
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables

_ANYONE = (("static:anyone",), ("static:all",))
_ANY_SENDER = ("static:*",)


class Users:
    """Both questions may raise TableError and Pending: then nothing may be allowed."""

    def __init__(
        self, settings: Settings, key: str, params: SubmitParams, tables: Tables, login: Callable[[int], str]
    ) -> None:
        """`login` gives the name of a uid, or an empty one. Raises ConfigError."""
        self._logins = tables.wrapped(LoginTable(login))
        self._params = params
        self._anyone = params.authorized_submit_users in _ANYONE
        origin = settings.origin("authorized_submit_users", key)
        self._submit = MatchList("authorized_submit_users", params.authorized_submit_users, tables, origin)
        self._any_sender = params.local_login_sender_maps == _ANY_SENDER
        self._senders = tables.maps(params.local_login_sender_maps, settings.origin("local_login_sender_maps", key))

    def refresh(self) -> None:
        """A file in the list may have changed. Raises ConfigError, and then keeps what it had."""
        if self._submit.stale():
            self._submit.reload()

    def name(self, uid: int) -> str:
        """Raises Pending."""
        return self._login(uid) or "unknown"

    def _login(self, uid: int) -> str:
        found = self._logins.get(str(uid))
        return "" if found is None else found.value

    def may_submit(self, uid: int) -> bool:
        return self._anyone or self._submit.match_string(self.name(uid)) is not None

    def may_send_as(self, uid: int, sender: str) -> bool:
        """Whether the table has a pattern for `sender` under the login name, or under `uid:` and the number where there
        is none. An extension of the address is not looked at."""
        if self._any_sender:
            return True
        found = self._senders.find(self._login(uid) or f"uid:{uid}")
        if found is None:
            return False
        local, domain = split(sender)
        bare = split_extension(local, self._params.recipient_delimiter)[0]
        address = f"{bare}@{domain}".lower() if domain else bare.lower()
        for word in found.value.replace(",", " ").split():
            pattern = word.lower()
            if pattern == "*":
                return True
            if pattern == self._params.empty_address_local_login_sender_maps_lookup_key:
                if not sender:
                    return True
            elif pattern.startswith("@"):
                if domain and domain.lower() == pattern[1:]:
                    return True
            elif sender and pattern == address:
                return True
        return False
